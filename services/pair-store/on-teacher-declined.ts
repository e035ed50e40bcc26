import type { TeacherDeclined } from '@understudy/contract';
import { requireId } from './on-teacher-answered.ts';
import type { Decline } from './store/record.ts';

/** Details are for people; what a provider sends as its error page is not kept whole. */
const MAX_DETAIL_CHARACTERS = 2_000;

export function declineOf({ runId, promptId, reason, detail, usage }: TeacherDeclined): Decline {
  requireId('prompt_id', promptId);
  return { runId, promptId, reason, detail: detail.replaceAll('\0', '').slice(0, MAX_DETAIL_CHARACTERS), usage };
}
