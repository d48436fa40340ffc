/** The `DeviceStore` contract on memory, whose content ends with the program. */
import { createMemoryDeviceStore } from '#core/device/store.ts'
import { DEVICE_STORE_CASES } from './device-store.ts'

for (const { title, run } of DEVICE_STORE_CASES.filter((found) => !found.durableOnly)) {
  Deno.test(`memory: ${title}`, async () => {
    const store = createMemoryDeviceStore()
    await run(() => Promise.resolve(store))
  })
}
