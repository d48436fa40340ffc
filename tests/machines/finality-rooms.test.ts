import { LIES } from '../support/hostile-member.ts'
import { Story, type StoryPlan } from '../support/sim-story.ts'

export async function told(plan: StoryPlan) {
  const story = new Story(plan)
  try {
    return await story.play()
  } catch (error) {
    console.error(`seed ${plan.seed}:\n${story.trace.join('\n')}`)
    throw error
  }
}
