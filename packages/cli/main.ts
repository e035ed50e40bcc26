import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { batch } from './commands/batch.ts';
import { listDeadLetters, replayDeadLetter, showDeadLetter } from './commands/dead-letters.ts';
import { approve, audit, reject } from './commands/deployments.ts';
import { doctor } from './commands/doctor.ts';
import { estimate } from './commands/estimate.ts';
import { forget, listErasures } from './commands/forget.ts';
import { exampleTask, start, up } from './commands/lifecycle.ts';
import { lineage } from './commands/lineage.ts';
import { report } from './commands/report.ts';
import { review } from './commands/review.ts';
import { predict, rollback } from './commands/serving.ts';
import { status } from './commands/status.ts';
import { apply, cancel, run, watchRun } from './commands/tasks.ts';
import { adopt, listWorkloads } from './commands/workloads.ts';
import { root } from './connect.ts';
import { exitCodeOf, exitCodes, wordsOf } from './errors.ts';
import { type Output, outputTo } from './output.ts';

const help = `
Examples:
  understudy start --task my-task.yaml     set up, distil, print the report, stop
  understudy up                            keep everything serving until Ctrl-C
  understudy run my-task.yaml              distil a task on the running platform
  understudy predict email-triage subject='Hello' text='Lunch on Friday?'
  understudy status --json | jq .deployments

Exit codes:
  ${exitCodes.done}    done; for runs: a student was promoted
  ${exitCodes.failed}    failed
  ${exitCodes.badInput}    the input, a setting or this machine is not as expected; the message says what to change
  ${exitCodes.notPromoted}    the run ended without a promotion; the message says why
  ${exitCodes.notRunning}    the platform does not run, or does not answer
  ${exitCodes.interrupted}  interrupted

UNDERSTUDY_DATA names the folder of everything that is kept (default: .understudy in the repository).`;

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const program = new Command('understudy')
  .description('Distils the narrow jobs of a large model into small, proven students.')
  .version(version)
  .showHelpAfterError('(understudy --help shows what there is)')
  .addHelpText('after', help)
  .exitOverride();

type Action = (output: Output, ...rest: never[]) => Promise<void>;

/** Adds a command; each can answer in JSON. */
const add = (parent: Command, usage: string, summary: string, action: Action): Command =>
  parent
    .command(usage)
    .description(summary)
    .option('--json', 'print JSON on standard output, and nothing else there')
    .action((...given: unknown[]) => {
      const command = given.at(-1) as Command;
      const output = outputTo(Boolean(command.opts().json), process.stdout, process.stderr);
      return action(output, ...(given.slice(0, -1) as never[]));
    });

const wholeNumber = (text: string): number => {
  if (/^[1-9][0-9]*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('expected a whole number of at least 1.');
};

const amount = (text: string): number => {
  if (/^[0-9]+([.][0-9]+)?$/.test(text)) return Number(text);
  throw new InvalidArgumentError('expected an amount in US dollars, like 0.05.');
};

add(program, 'up', 'start the platform and keep it serving until Ctrl-C', up);
add(
  program,
  'start',
  'start the platform, run a task to its verdict, print the report, stop',
  (output, { task }: { task: string }) => start(output, task),
).option('--task <file>', 'task file', exampleTask);
add(program, 'apply <file>', 'give a task file to the platform', apply).option('--check', 'only check the file');
add(program, 'run <task>', 'run a task, or a task file, to its verdict', run).option(
  '--detach',
  'print the id of the run and leave',
);
add(program, 'estimate <task>', 'what a run of a task, or of a task file, would cost', estimate)
  .option('--calls <number>', 'real calls that may be made for it; their answers are kept', wholeNumber)
  .option('--usd <amount>', 'what those calls may cost at most', amount);
add(
  program,
  'batch <task>',
  "ask through batch files of the teacher's provider; alone it says what that can cost",
  batch,
)
  .option('--submit', 'submit them, wait, and import the answers; the same again goes on where it ended')
  .option('--out <file>', 'write them instead')
  .option('--prompts <number>', 'at most so many; as many as the budget has calls where absent', wholeNumber)
  .option('--per-file <number>', 'requests in one file, for providers that take fewer than 50,000', wholeNumber);
add(program, 'watch <run>', 'follow a run, or the newest run of a task', watchRun);
add(program, 'report <run>', 'show what a finished run, or the newest run of a task, found', report)
  .option('--html <file>', 'write it as one page with plots, which needs nothing else')
  .option('--requests-per-day <number>', 'what comes in a day: gives the page a date of break-even', wholeNumber)
  .option('--watts <number>', 'of one busy core: what the energy on the page assumes', wholeNumber);
add(program, 'review <task> [pair]', 'list the pairs that a person should look at, or settle one', review)
  .option('--answer <json>', "the right answer, in place of the teacher's")
  .option('--keep', "the teacher's answer is right")
  .option('--drop', 'the input belongs to no snapshot')
  .option('--author <name>', 'whose decision it is; kept with it')
  .option('--reason <text>', 'why; kept with it')
  .option('--replacing <decision>', 'the decision that this one takes the place of')
  .option('--settled', 'list what was decided instead');
add(program, 'cancel <run>', 'end a run, or the newest run of a task', cancel).option('--reason <text>', 'why');
add(program, 'status', 'show services, tasks, deployments and runs', status);
add(
  program,
  'predict <task> [input...]',
  'ask for an answer: JSON, field=value …, or JSON on standard input',
  (output, task: string, input: string[]) => predict(output, task, input),
);
add(program, 'rollback <task>', 'serve with the student before', rollback).option(
  '--reason <text>',
  'why',
  'asked for on the command line',
);
add(
  program,
  'workloads',
  'show what passes through the gateway, by prompt and schema, and what a student could save',
  listWorkloads,
);
add(program, 'adopt <workload>', 'make a task of a workload, with the pairs that were recorded', adopt)
  .option('--name <name>', 'of the task; made of the workload where absent')
  .option('--out <folder>', 'where the task file and its pairs go', '.')
  .option('--api-key-env <variable>', "the teacher's key, for what is asked beside the recorded pairs");
const decided = (usage: string, summary: string, action: Action) =>
  add(program, usage, summary, action)
    .requiredOption('--author <name>', 'whose decision it is; kept with it')
    .requiredOption('--reason <text>', 'why; kept with it');
decided('approve <task-or-student>', 'let the student on its way take its next step', approve);
decided('reject <task-or-student>', 'send the student on its way away', reject);
add(program, 'audit <task>', 'show all that was decided about what serves a task', audit);
add(
  program,
  'lineage <task-or-student>',
  'verify by digests what a student comes from, and what was decided on it',
  lineage,
);
decided('forget <task>', 'erase an input, or a whole source, from everything that is kept', forget)
  .option(
    '--input <file>',
    'file that holds the input, as JSON or, for a task with one field, as it is; - for standard input',
  )
  .option('--id <id>', 'the id of the prompt')
  .option('--source <name>', 'all inputs of this source');
add(program, 'forgotten [task]', 'show what was forgotten, by whom and why', listErasures).option(
  '--resume',
  'go on with what is not done yet instead, as the platform does every few minutes',
);
add(program, 'doctor', 'show what this machine has', doctor);

const deadLetters = program.command('dead-letters').description('messages that no handler could finish');
add(deadLetters, 'list', 'list them, the newest first', listDeadLetters);
const numbered = (usage: string, summary: string, action: (output: Output, number: number) => Promise<void>) =>
  add(deadLetters, usage, summary, (output, number: number) => action(output, number)).argument(
    '<number>',
    'as `list` shows it',
    wholeNumber,
  );
numbered('show', 'show one with its payload', showDeadLetter);
numbered('replay', 'publish it again as it was', replayDeadLetter);

// A reader that had enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.badInput;
  } else {
    process.stderr.write(`understudy: ${wordsOf(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
}
