import {
  type AnswerAudited,
  type CallObserved,
  DeclineReason,
  type EventType,
  type PayloadOf,
  type PromptSubmitted,
  type TeacherAnswered,
  type TeacherDeclined,
  type TrafficObserved,
} from '@understudy/contract';
import type { InputMatcher } from './versions.ts';

/** Types of events that may hold an input, or what came of one. */
export const TYPES_WITH_INPUTS: readonly EventType[] = [
  'prompt.submitted',
  'teacher.answered',
  'teacher.declined',
  'traffic.observed',
  'answer.audited',
  'call.observed',
];

/**
 * Whether an event holds one of the inputs that are meant.
 * @param source name of a source, all of whose inputs are meant as well; none where empty
 */
export function holdsInput<T extends EventType>(
  matcher: InputMatcher,
  type: T,
  payload: PayloadOf<T>,
  source = '',
): boolean {
  const isOf = (origin: string | undefined) => source !== '' && origin === source;
  switch (type) {
    case 'prompt.submitted': {
      const { promptId, origin } = payload as PromptSubmitted;
      return matcher.isMeant(promptId) || isOf(origin);
    }
    case 'teacher.declined':
      return matcher.isMeant((payload as TeacherDeclined).promptId);
    case 'teacher.answered':
    case 'answer.audited': {
      const { pair } = payload as TeacherAnswered | AnswerAudited;
      return pair !== undefined && (matcher.isMeant(pair.promptId) || isOf(pair.origin));
    }
    case 'traffic.observed': {
      const { pair, inputJson } = payload as TrafficObserved;
      if (pair && (matcher.isMeant(pair.promptId) || isOf(pair.origin))) return true;
      return inputJson !== undefined && matcher.isInput(inputJson);
    }
    case 'call.observed': {
      const { input } = payload as CallObserved;
      return input !== undefined && matcher.isMessage(input);
    }
    default:
      return false;
  }
}

const WITHOUT_QUOTES: ReadonlySet<DeclineReason> = new Set([
  DeclineReason.BUDGET,
  DeclineReason.CANCELLED,
  DeclineReason.FORGOTTEN,
]);

/**
 * Whether the detail of such a decline may quote the input, or an answer that does: it goes with the fact, and into no log. A provider that is
 * down, or refuses us, may repeat what it was asked as well as one that refuses the input.
 */
export const mayQuoteInput = (reason: DeclineReason): boolean => !WITHOUT_QUOTES.has(reason);
