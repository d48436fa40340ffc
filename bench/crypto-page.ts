/** Entry of the page that measures in a browser. Owns the one name that the driver calls. */
import { measureEngine } from './crypto-engine.ts'

Object.assign(globalThis, { measureEngine })
