/**
 * The page: finds account and hub, joins the tabs of the account and mounts the app. Owns no state.
 */
import { mount } from 'svelte'
import './styles/base.css'
import './styles/line.css'
import App from './App.svelte'
import { openEngine } from './engine/client.ts'
import { m } from './paraglide/messages.js'
import { getLocale } from './paraglide/runtime.js'
import Problem from './routes/Problem.svelte'
import { activeAccount } from './state/accounts.ts'
import { readHubOrigin } from './state/hub.ts'
import { describePlatform, missingPart } from './state/platform.ts'
import { UpdateState } from './state/update.svelte.ts'

function firstDeviceName(): string {
  const { browser, system } = describePlatform(navigator.userAgent)
  if (browser === null || system === null) return m.device_unknown()
  return m.device_described({ browser, system })
}

async function start(target: Element): Promise<void> {
  document.documentElement.lang = getLocale()
  const missing = missingPart()
  if (missing !== null) {
    mount(Problem, { target, props: { code: missing } })
    return
  }
  const [account, hubOrigin] = await Promise.all([activeAccount(), readHubOrigin()])
  const client = openEngine({
    accountId: account.id,
    existing: account.used,
    endpoint: hubOrigin,
  })
  addEventListener('pagehide', () => void client.suspend())
  addEventListener('pageshow', (event) => {
    if (event.persisted) client.resume()
  })
  const update = new UpdateState()
  mount(App, {
    target,
    props: {
      options: { client, accountId: account.id, hubOrigin, deviceName: firstDeviceName() },
      update,
    },
  })
  if (import.meta.env.PROD) await update.register()
}

const target = document.getElementById('app')
if (target !== null) void start(target)
