/**
 * Builds the app: page, engine worker and, after them, the service worker. Owns targets and the
 * rules that keep the output loadable under the content security policy.
 */
import { paraglideVitePlugin } from '@inlang/paraglide-js'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { fileURLToPath } from 'node:url'
import { defineConfig, type Plugin } from 'vite'
import { serviceWorkerPlugin } from './vite/service-worker-plugin.ts'

const root = fileURLToPath(new URL('.', import.meta.url))
const hubOrigin = process.env['KALANDRA_HUB_ORIGIN'] ?? 'http://localhost:4433'

/** During development: which hub the app talks to. Elsewhere the server answers this. */
function developmentConfig(): Plugin {
  return {
    name: 'kalandra-development-config',
    apply: 'serve',
    configureServer(server) {
      server.middlewares.use('/config.json', (_request, response) => {
        response.setHeader('content-type', 'application/json; charset=utf-8')
        response.end(JSON.stringify({ hub: hubOrigin }))
      })
    },
  }
}

export default defineConfig({
  root,
  plugins: [
    paraglideVitePlugin({
      project: `${root}project.inlang`,
      outdir: `${root}src/paraglide`,
      strategy: ['preferredLanguage', 'baseLocale'],
      emitTsDeclarations: false,
      isServer: 'false',
    }),
    svelte({
      configFile: false,
      // Builds elements one by one: nothing is parsed from text.
      compilerOptions: { fragments: 'tree' },
    }),
    developmentConfig(),
    serviceWorkerPlugin(),
  ],
  worker: { format: 'es' },
  build: {
    outDir: fileURLToPath(new URL('../dist', import.meta.url)),
    emptyOutDir: true,
    target: 'es2023',
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
})
