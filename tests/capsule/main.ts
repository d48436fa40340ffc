/**
 * `npm run replay -- FILE`: replays a capsule and tells its story. Status 0 where everything went
 * as recorded, 1 where it did not, 2 where the file is no capsule. The file may come from anybody:
 * it is bounded before it is read, and what it says is printed without what steers a terminal.
 */
import { CAPSULE_FILE_SIZE_MAX, RefusedCapsule } from './bounds.ts'
import { replayCapsule } from './replay.ts'
import { ending, opening, told, visible } from './story.ts'

const [file] = Deno.args
if (file === undefined) {
  console.error('npm run replay -- FILE')
  Deno.exit(2)
}
let text: string
try {
  const { size } = await Deno.stat(file)
  if (size > CAPSULE_FILE_SIZE_MAX) throw new RefusedCapsule('tooLong', `${size} bytes`)
  text = await Deno.readTextFile(file)
  console.log(opening(text))
} catch (error) {
  const why = error instanceof RefusedCapsule ? error.message : String(error)
  console.error(visible(`${file} is no capsule that can be replayed: ${why}`))
  Deno.exit(2)
}
const replayed = await replayCapsule(text, { passed: (step) => console.log(told(step)) })
console.log(ending(replayed))
Deno.exit(replayed.divergence === null ? 0 : 1)
