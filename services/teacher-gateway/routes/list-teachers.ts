import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListTeachersResponseSchema } from '@understudy/contract/teacher-gateway';
import type { AnsweringContext } from '../context.ts';

/** Whether teachers are asked, and why not. */
export const listTeachers = async ({
  ledger,
}: AnsweringContext): Promise<MessageInitShape<typeof ListTeachersResponseSchema>> => ({
  teachers: ledger.teachers().map(({ teacher, blockage }) => ({
    teacher,
    open: blockage?.open ?? false,
    waitMs: BigInt(Math.ceil(Math.max(0, blockage?.waitMs ?? 0))),
    awayMs: BigInt(Math.floor(blockage?.awayMs ?? 0)),
    failure: blockage?.failure ?? '',
    detail: blockage?.detail ?? '',
  })),
});
