import { live } from './life.ts'
import { replayCapsule } from './replay.ts'
const [from, to] = Deno.args.map(Number)
let ok = 0, bad = 0
for (let seed = from; seed <= to; seed++) {
  for (const [i, { who, capsule }] of (await live(seed, 40)).entries()) {
    try {
      const r = await replayCapsule(capsule)
      if (r.divergence === null) {
        ok++
        if (r.missing.length) {
          console.log(seed, i, who, 'fine with', r.missing)
        }
      } else {
        bad++
        console.log(
          seed,
          i,
          who,
          r.steps + '/' + r.capsule.steps.length,
          JSON.stringify(r.divergence).slice(0, 260),
          r.missing.join(';'),
        )
        await Deno.writeTextFile(`/tmp/bad-${seed}-${i}.capsule`, capsule)
      }
    } catch (e) {
      bad++
      console.log(seed, i, who, 'ERROR', String((e as Error).stack).slice(0, 600))
      await Deno.writeTextFile(`/tmp/bad-${seed}-${i}.capsule`, capsule)
    }
  }
}
console.log(ok, bad)
