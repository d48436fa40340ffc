/**
 * `npm start`: installs, builds, runs the hub with the app on one port, says where to open it.
 * KALANDRA_PORT and KALANDRA_DATA change port and folder. Ctrl-C drains.
 */
import path from 'node:path'
import process from 'node:process'
import { buildApp } from './lib/app.mjs'
import { hubCommand, hubExists, portFrom, portIsFree } from './lib/hub.mjs'
import { fail, inRoot, install } from './lib/project.mjs'
import { start } from './lib/run.mjs'

install()
const port = portFrom()
if (port === null) fail(`KALANDRA_PORT is not a port: ${process.env.KALANDRA_PORT}`)
if (!await portIsFree(port)) fail(`Port ${port} is taken: set KALANDRA_PORT to a free one.`)
if (!hubExists()) fail('There is no hub to start: edge-hub/main.ts is missing.')
if ((await buildApp()).code !== 0) fail('The app could not be built.')

const env = {
  ...process.env,
  KALANDRA_PORT: String(port),
  KALANDRA_DATA: path.resolve(process.env.KALANDRA_DATA || inRoot('data')),
  KALANDRA_APP_DIR: process.env.KALANDRA_APP_DIR || inRoot('dist'),
}
const { ended } = start(hubCommand(env), { env })
let running = true
const code = ended.then((code) => {
  running = false
  return code
})

const origin = `${process.env.KALANDRA_CERT ? 'https' : 'http'}://localhost:${port}`
const readyMsMax = 30_000
const began = Date.now()
while (running && Date.now() - began < readyMsMax) {
  const answer = await fetch(`${origin}/healthz`).catch(() => null)
  if (answer?.ok || origin.startsWith('https')) {
    console.log(`\n  Kalandra is open at ${origin}\n`)
    break
  }
  await new Promise((resolve) => setTimeout(resolve, 100))
}
const status = await code
if (status !== 0) fail(`The hub ended with code ${status}.`, status)
