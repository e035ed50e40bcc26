import {
  type ChatCall,
  insideFrame,
  type TemplateFrame,
  templateFrame,
  workloadId,
  workloadsOfTask,
} from '@understudy/task';
import type { ServedTask } from './serving.ts';

/** A call that is a task's, although it names another model. */
export interface MatchedCall {
  served: ServedTask;
  /** The task's input: what the frame of its template holds. */
  input: Record<string, string>;
}

interface Entry {
  served: ServedTask;
  frame: TemplateFrame;
}

/** Finds the task that a call belongs to by what it asks. */
export class CallIndex {
  readonly #byWorkload = new Map<string, Entry[]>();

  constructor(tasks: Iterable<ServedTask>) {
    for (const served of tasks) {
      const { task } = served.task;
      const frame = templateFrame(task.prompt.template);
      if (!frame) continue;
      for (const workload of workloadsOfTask(task)) {
        const entries = this.#byWorkload.get(workload) ?? [];
        // Where the frames of two tasks fit, the longer one says more.
        entries.push({ served, frame });
        entries.sort((a, b) => frameLength(b.frame) - frameLength(a.frame));
        this.#byWorkload.set(workload, entries);
      }
    }
  }

  match({ system, schema, user, obstacle }: ChatCall): MatchedCall | undefined {
    if (this.#byWorkload.size === 0 || obstacle !== undefined || user === undefined) return undefined;
    for (const { served, frame } of this.#byWorkload.get(workloadId(system, schema)) ?? []) {
      const text = insideFrame(frame, user);
      if (text !== undefined) return { served, input: { [frame.field]: text } };
    }
    return undefined;
  }
}

const frameLength = ({ prefix, suffix }: TemplateFrame): number => prefix.length + suffix.length;
