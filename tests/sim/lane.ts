/** A worker that runs plans, one after the other, and gives back what each was. */
import { planOf, type PlanOptions } from './plan.ts'
import { type Report, runPlan } from './run.ts'

const port = globalThis as unknown as {
  onmessage: (event: MessageEvent<PlanOptions>) => void
  postMessage(report: Report): void
}
port.onmessage = ({ data: options }) => {
  void runPlan(planOf(options)).then(({ report }) => port.postMessage(report))
}
