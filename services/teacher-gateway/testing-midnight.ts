/** Longer than a test of budgets takes that are a day's. */
const clearMs = 60_000;
const dayMs = 86_400_000;

/** Resolves when the day (UTC), and with it the budget of live requests, does not end soon. */
export const clearOfMidnight = async (): Promise<void> => {
  while (dayMs - (Date.now() % dayMs) < clearMs) await new Promise((wake) => setTimeout(wake, 1_000));
};
