/**
 * Typed context for the states that `App.svelte` creates. Owns the keys only.
 */
import { createContext } from 'svelte'
import type { AppState } from './app.svelte.ts'

export const [getAppState, setAppState] = createContext<AppState>()
