/**
 * The vocabulary of the browser tests: what a person does with the app and what they see, by roles
 * and labels alone. Owns the person's browser context, relay and app server.
 */
import {
  type Browser,
  type BrowserContext,
  expect,
  type Locator,
  type Page,
} from '@playwright/test'
import { startAppServer } from '../../../scripts/app-server.mjs'
import { inRoot } from '../../../scripts/lib/project.mjs'
import { OBSERVED, type ObservedDatagram } from './app-copy.ts'
import { type Relay, startRelay } from './relay.ts'

const HUB_DOMAIN = 'localhost'

export interface PersonOptions {
  readonly name: string
  readonly browser: Browser
  readonly hubPort: number
  /** Folder of the built app. */
  readonly appDirectory?: string
}

/** Gives a person a browser of their own, not yet signed up. */
export async function startPerson(options: PersonOptions): Promise<Person> {
  const relay = await startRelay({ hubPort: options.hubPort })
  const appServer = await startAppServer({
    directory: options.appDirectory ?? inRoot('dist'),
    hubOrigin: `http://localhost:${relay.port}`,
  })
  const context = await options.browser.newContext({ locale: 'en' })
  return new Person(options.name, { relay, appServer, context })
}

interface PersonParts {
  readonly relay: Relay
  readonly appServer: Awaited<ReturnType<typeof startAppServer>>
  readonly context: BrowserContext
}

export class Person {
  readonly name: string
  /** The person's way to the hub. */
  readonly network: Relay
  /** Serves the app; the hub is somewhere else. */
  readonly appServer: PersonParts['appServer']
  readonly #context: BrowserContext
  #tab: Tab | null = null

  constructor(name: string, parts: PersonParts) {
    this.name = name
    this.network = parts.relay
    this.appServer = parts.appServer
    this.#context = parts.context
  }

  /** `name@hub`. */
  get account(): string {
    return `${this.name}@${HUB_DOMAIN}`
  }

  /** The tab that was opened last. */
  get tab(): Tab {
    if (this.#tab === null) throw new Error(`${this.name} has no open tab`)
    return this.#tab
  }

  /** Opens the app in another tab, at a path of it. */
  async opensTab(path = '/'): Promise<Tab> {
    const page = await this.#context.newPage()
    this.#tab = new Tab(page)
    await page.goto(this.appServer.origin + path)
    return this.#tab
  }

  async closesTab(): Promise<void> {
    await this.tab.page.close()
    this.#tab = null
  }

  async signsUp(): Promise<void> {
    const { page } = await this.opensTab()
    await page.getByRole('textbox', { name: 'Your name' }).fill(this.name)
    await page.getByRole('button', { name: 'Create account' }).click()
    await expect(page.getByRole('navigation', { name: 'Rooms' })).toBeVisible()
  }

  /** Opens the link that another person made, at this person's own app. */
  async joins(link: string): Promise<void> {
    const { page } = this.tab
    await page.goto(this.appServer.origin + pathOf(link))
    await page.getByRole('button', { name: 'Join room' }).click()
    await expect(page).toHaveURL(/\/room\//)
  }

  /** The first thing that this person does is to follow a link. */
  async signsUpAndJoins(link: string): Promise<void> {
    const { page } = await this.opensTab(pathOf(link))
    await page.getByRole('textbox', { name: 'Your name' }).fill(this.name)
    await page.getByRole('button', { name: 'Create account and join' }).click()
    await expect(page).toHaveURL(/\/room\//)
  }

  createsRoom = (title: string): Promise<void> => this.tab.createsRoom(title)
  opensRoom = (title: string): Promise<void> => this.tab.opensRoom(title)
  invites = (): Promise<string> => this.tab.invites()
  invitesAnew = (): Promise<string> => this.tab.invitesAnew()
  takesBackNewestLink = (): Promise<void> => this.tab.takesBackNewestLink()
  says = (text: string): Promise<void> => this.tab.says(text)
  sees = (text: string, author?: Person): Promise<void> => this.tab.sees(text, author)
  waits = (text: string): Promise<void> => this.tab.waits(text)
  isConnected = (transport?: Transport): Promise<void> => this.tab.isConnected(transport)
  isOffline = (): Promise<void> => this.tab.isOffline()

  async leaves(): Promise<void> {
    await this.#context.close()
    await this.appServer.close()
    await this.network.close()
  }
}

export type Transport = 'webTransport' | 'webSocket'

function pathOf(link: string): string {
  const { pathname, hash } = new URL(link)
  return pathname + hash
}

/** One tab of a person. */
export class Tab {
  readonly page: Page

  constructor(page: Page) {
    this.page = page
  }

  async createsRoom(title: string): Promise<void> {
    await this.page.getByRole('button', { name: 'New room' }).first().click()
    const dialog = this.page.getByRole('dialog', { name: 'New room' })
    await dialog.getByRole('textbox', { name: 'Room title' }).fill(title)
    await dialog.getByRole('button', { name: 'Create' }).click()
    await this.isInRoom(title)
  }

  async opensRoom(title: string): Promise<void> {
    const rooms = this.page.getByRole('list', { name: 'Rooms' })
    await rooms.getByRole('link', { name: new RegExp(`^${title}`) }).click()
    await this.isInRoom(title)
  }

  async isInRoom(title: string): Promise<void> {
    await expect(this.page.getByRole('heading', { level: 1, name: title })).toBeVisible()
  }

  /** This device stands in the room's log: what is written from now on is read here. */
  async isMember(): Promise<void> {
    await expect(this.page.getByRole('main')).toHaveAttribute('data-room-state', 'live')
  }

  async invites(): Promise<string> {
    const dialog = await this.#inviteDialog()
    const value = await dialog.getByRole('textbox', { name: 'Invitation link' }).inputValue()
    await dialog.getByRole('button', { name: 'Close' }).click()
    return value
  }

  /** Makes one more link, with the limits that the dialog proposes. */
  async invitesAnew(): Promise<string> {
    const dialog = await this.#inviteDialog()
    const link = dialog.getByRole('textbox', { name: 'Invitation link' })
    const before = await link.inputValue()
    await dialog.getByRole('button', { name: 'Make another link' }).click()
    await expect(link).not.toHaveValue(before)
    await expect(link).toHaveValue(/\/join#./)
    const value = await link.inputValue()
    await dialog.getByRole('button', { name: 'Close' }).click()
    return value
  }

  async takesBackNewestLink(): Promise<void> {
    const dialog = await this.#inviteDialog()
    const links = dialog.getByRole('list', { name: 'Your open links' }).getByRole('listitem')
    const before = await links.count()
    await links.first().getByRole('button', { name: 'Take back' }).click()
    await expect(links).toHaveCount(before - 1)
    await dialog.getByRole('button', { name: 'Close' }).click()
  }

  /** The dialog of links, once it shows one. */
  async #inviteDialog(): Promise<Locator> {
    await this.page.getByRole('button', { name: 'Invite' }).click()
    const dialog = this.page.getByRole('dialog', { name: 'Invite by link' })
    const link = dialog.getByRole('textbox', { name: 'Invitation link' })
    await expect(link).toHaveValue(/\/join#./)
    return dialog
  }

  /** The room says in its place why this person is not in it. */
  async isRefused(words: string): Promise<void> {
    const main = this.page.getByRole('main')
    await expect(main).toHaveAttribute('data-room-state', 'joinRefused')
    await expect(main).toContainText(words)
  }

  async says(text: string): Promise<void> {
    const composer = this.page.getByRole('textbox', { name: 'Message' })
    await composer.fill(text)
    await composer.press('Enter')
    await expect(this.message(text)).toHaveCount(1)
  }

  /** Types without sending. */
  async types(text: string): Promise<void> {
    await this.page.getByRole('textbox', { name: 'Message' }).pressSequentially(text)
  }

  /** Messages with exactly this text, by one author or by anybody. */
  message(text: string, author?: Person): Locator {
    const articles = author === undefined
      ? this.messages()
      : this.messages().and(this.page.getByRole('article', { name: `${author.account}, ` }))
    return articles.filter({ has: this.page.getByText(text, { exact: true }) })
  }

  messages(): Locator {
    return this.page.getByRole('log', { name: 'Messages' }).getByRole('article')
  }

  /** The message is there, once, and durable in the room's log. */
  async sees(text: string, author?: Person): Promise<void> {
    await expect(this.message(text, author)).toHaveCount(1)
    await expect(this.message(text, author)).toHaveAttribute('data-delivery', 'sent')
  }

  /** The message is there, once, and has not left this device. */
  async waits(text: string): Promise<void> {
    await expect(this.message(text)).toHaveCount(1)
    await expect(this.message(text)).toHaveAttribute('data-delivery', 'queued')
  }

  /** All messages, oldest first. */
  async texts(): Promise<string[]> {
    return await this.messages().locator('[data-part="text"]').allTextContents()
  }

  async isConnected(transport?: Transport): Promise<void> {
    await expect(this.#connection).toHaveAttribute('data-connection', 'connected')
    if (transport !== undefined) {
      await expect(this.#connection).toHaveAttribute('data-transport', transport)
    }
  }

  async isOffline(): Promise<void> {
    await expect(this.#connection).not.toHaveAttribute('data-connection', 'connected')
  }

  /** What the room shows of who is typing; empty when nobody is. */
  async typing(): Promise<string> {
    return await this.page.getByRole('status', { name: 'Typing' }).innerText()
  }

  /** A service worker serves this tab. */
  async isInstalled(): Promise<void> {
    await this.page.evaluate(() => navigator.serviceWorker.ready.then(() => {}))
    await expect.poll(() => this.page.evaluate(() => navigator.serviceWorker.controller !== null))
      .toBe(true)
  }

  /** Of a copy of the app that says its version. */
  async isVersion(version: string): Promise<void> {
    await expect(this.page.locator('meta[name=version]')).toHaveAttribute('content', version)
  }

  async acceptsUpdate(): Promise<void> {
    const update = this.page.getByRole('status', { name: 'Update' })
    await expect(update).toContainText('A new version is ready.')
    await update.getByRole('button', { name: 'Reload now' }).click()
  }

  /** Of an observed app: returns how to read the opcodes of datagrams that passed from now on. */
  async observes(way: ObservedDatagram['way']): Promise<() => Promise<readonly number[]>> {
    await this.page.evaluate(([name, wanted]) => {
      const seen: number[] = []
      const reports = new BroadcastChannel(name)
      reports.onmessage = ({ data: { way: passed, opcode } }: MessageEvent<ObservedDatagram>) => {
        if (passed === wanted) seen.push(opcode)
      }
      Object.assign(globalThis, { observedOpcodes: seen, observedReports: reports })
    }, [OBSERVED, way] as const)
    return () =>
      this.page.evaluate(() =>
        (globalThis as unknown as { observedOpcodes: readonly number[] }).observedOpcodes
      )
  }

  async reloads(): Promise<void> {
    await this.page.reload()
  }

  get #connection(): Locator {
    return this.page.getByRole('status', { name: 'Connection' })
  }
}
