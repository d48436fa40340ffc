/** `npm run build`: the app into `dist/`. */
import process from 'node:process'
import { buildApp } from './lib/app.mjs'
import { install } from './lib/project.mjs'

install()
process.exit((await buildApp({ always: true })).code)
