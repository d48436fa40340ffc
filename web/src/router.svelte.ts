/**
 * The address bar as a route. Owns history and what of an address is kept: the fragment of a join
 * link is a secret, so it leaves the address bar as soon as it has been read.
 */
import { createContext } from 'svelte'

export type Route =
  | { readonly kind: 'rooms' }
  | { readonly kind: 'room'; readonly room: string }
  | { readonly kind: 'join'; readonly fragment: string }
  | { readonly kind: 'settings' }

/** `path` is a path name; an unknown one is the list of rooms. */
export function parseRoute(path: string, fragment: string): Route {
  const [head, tail] = path.split('/').filter((part) => part !== '')
  if (head === 'room' && tail !== undefined && /^[A-Za-z0-9_-]{1,64}$/.test(tail)) {
    return { kind: 'room', room: tail }
  }
  if (head === 'join') return { kind: 'join', fragment }
  if (head === 'settings') return { kind: 'settings' }
  return { kind: 'rooms' }
}

export class Router {
  route = $state.raw<Route>({ kind: 'rooms' })

  constructor() {
    this.read()
  }

  /** Takes the route from the address bar. */
  read(): void {
    const fragment = location.hash.slice(1)
    const joins = parseRoute(location.pathname, '').kind === 'join'
    if (joins && fragment === '' && this.route.kind === 'join') return
    if (joins) history.replaceState(null, '', '/join')
    this.route = parseRoute(location.pathname, fragment)
  }

  go(path: string, options: { readonly replace: boolean } = { replace: false }): void {
    if (options.replace) history.replaceState(null, '', path)
    else if (path !== location.pathname) history.pushState(null, '', path)
    this.read()
  }

  /** Turns plain clicks on links within the app into routes. */
  clicked(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const link = event.target instanceof Element ? event.target.closest('a') : null
    if (link === null || link.target !== '' || link.origin !== location.origin) return
    event.preventDefault()
    this.go(link.pathname)
  }
}

export const [getRouter, setRouter] = createContext<Router>()
