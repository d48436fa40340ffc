/**
 * `npm run dev`: the hub restarts and the page reloads when their sources change. The app is on
 * Vite's port, the hub on KALANDRA_PORT.
 */
import path from 'node:path'
import process from 'node:process'
import { hubCommand, hubExists, portFrom, portIsFree } from './lib/hub.mjs'
import { fail, inRoot, install, packageBin } from './lib/project.mjs'
import { start } from './lib/run.mjs'

install()
const port = portFrom()
if (port === null) fail(`KALANDRA_PORT is not a port: ${process.env.KALANDRA_PORT}`)
if (!await portIsFree(port)) fail(`Port ${port} is taken: set KALANDRA_PORT to a free one.`)
if (!hubExists()) fail('There is no hub to start: edge-hub/main.ts is missing.')

const env = {
  ...process.env,
  KALANDRA_PORT: String(port),
  KALANDRA_DATA: path.resolve(process.env.KALANDRA_DATA || inRoot('data')),
  KALANDRA_HUB_ORIGIN: `http://localhost:${port}`,
}
const hub = start(hubCommand(env, { watch: true }), { env })
const app = start([...packageBin('vite', 'bin/vite.js'), '--config', 'web/vite.config.ts'], { env })

const code = await Promise.race([hub.ended, app.ended])
hub.child.kill('SIGTERM')
app.child.kill('SIGTERM')
const codes = await Promise.all([hub.ended, app.ended])
process.exit(code || Math.max(...codes))
