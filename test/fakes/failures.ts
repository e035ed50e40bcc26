/** The ways in which a fake teacher fails, and what each of them costs. */
import { answerOf } from './answers.ts';

/** Tokens of every call that reached the model. */
export const tokensPerCall = { input: 20, output: 5 } as const;

/** Failures that are no answer at all. `refused` ones cost nothing; of the others the model did its work. */
const refused = {
  unauthorized: { status: 401, message: 'invalid api key' },
  'rate-limited': { status: 429, message: 'slow down' },
  'rate-limited-bare': { status: 429, message: 'slow down' },
  unavailable: { status: 503, message: 'no capacity' },
} as const;
const broken = {
  /** The gateway before the model falls over when the answer is there. */
  'server-error': { status: 500, message: 'the model fell over' },
  /** Takes longer than anybody waits. */
  slow: undefined,
  reset: undefined,
  truncated: undefined,
  /** Status 200 around an error. */
  'error-body': { status: 200, message: 'upstream provider failed' },
} as const;

/** Whole replies whose content is no answer of the task. */
const contents = {
  'not-json': () => 'I am not sure, {"label": perhaps',
  'outside-schema': () => '{"label":"no-such-label","why":"because"}',
  prose: () => 'It could be many things, and I would rather not choose one of them.',
  'prose-around': (answer: string) => `Let me think.\n\n${answer}\n\nI hope that this helps.`,
  'two-objects': (answer: string) => `${answer}\n{"team":"no-such-team"}`,
  'wrong-case': (answer: string) => withStrings(answer, (text) => text.toUpperCase()),
  'no-such-span': (answer: string) => withStrings(answer, () => 'a span that is not in the input'),
  'cut-json': (answer: string) => answer.slice(0, -2),
} as const;

export const failures = [...Object.keys(refused), ...Object.keys(broken), ...Object.keys(contents), 'no-choices'];
export type Failure = keyof typeof refused | keyof typeof broken | keyof typeof contents | 'no-choices';

const withStrings = (answer: string, change: (text: string) => string): string =>
  JSON.stringify(JSON.parse(answer), (_key, value) => (typeof value === 'string' ? change(value) : value));

/** What the model would write. */
export const contentOf = (failure: Failure | undefined, text: string, schema: object, turn = 0): string => {
  const answer = answerOf(text, schema, turn);
  return failure !== undefined && failure in contents ? contents[failure as keyof typeof contents](answer) : answer;
};

/** The refusal that takes a reply's place. */
export const refusalOf = (failure: Failure | undefined): { status: number; message: string } | undefined =>
  failure === undefined
    ? undefined
    : (refused[failure as keyof typeof refused] ?? broken[failure as keyof typeof broken]);

/** What a provider charges for a call: nothing, or all of it, whether or not whoever asked gets to see the answer. */
export const chargeOf = (failure: Failure | undefined): 'nothing' | 'seen' | 'unseen' => {
  if (failure === undefined) return 'seen';
  if (failure in refused) return 'nothing';
  return failure in broken ? 'unseen' : 'seen';
};
