/** Entry of the page that measures MLS in a browser. Owns the one name that the driver calls. */
import { measureShapes } from './mls-engine.ts'

Object.assign(globalThis, { measureShapes })
