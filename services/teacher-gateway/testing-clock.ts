/** Preloaded into a process, gives it a wall clock that is set forwards and back by up to an hour, several times a second. */
const realNow = Date.now;
const longestJumpMs = 3_600_000;
let jumps = 0;
let offsetMs = 0;
setInterval(() => {
  jumps += 1;
  // The fractional parts of multiples of the golden ratio: spread evenly, and the same each time.
  offsetMs = Math.round((((jumps * 0.618_033_988_749) % 1) - 0.5) * 2 * longestJumpMs);
}, 150).unref();

Date.now = () => realNow() + offsetMs;
