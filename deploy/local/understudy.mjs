#!/usr/bin/env node
// `npx understudy …` from the repository: sets up, then runs the command line.
process.argv.splice(2, 0, 'understudy');
await import('./setup.mjs');
