/**
 * `npm run replay -- FILE`: replays a capsule and tells its story. Status 0 where everything went
 * as recorded, 1 where it did not, 2 where the file is no capsule.
 */
import { replayCapsule } from './replay.ts'
import { ending, opening, told } from './story.ts'

const [file] = Deno.args
if (file === undefined) {
  console.error('npm run replay -- FILE')
  Deno.exit(2)
}
let text: string
try {
  text = await Deno.readTextFile(file)
  console.log(opening(text))
} catch (error) {
  console.error(`${file} is no capsule of this version: ${String(error)}`)
  Deno.exit(2)
}
const replayed = await replayCapsule(text, { passed: (step) => console.log(told(step)) })
console.log(ending(replayed))
Deno.exit(replayed.divergence === null ? 0 : 1)
