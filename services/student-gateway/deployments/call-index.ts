import {
  type ChatCall,
  insideFrame,
  type TemplateFrame,
  templateFrame,
  workloadId,
  workloadOfTask,
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
  workload: string;
  frame: TemplateFrame;
}

/** Finds the task that a call belongs to by what it asks. Most calls cost one look into a map: few share a prompt. */
export class CallIndex {
  readonly #byPrompt: ReadonlyMap<string, readonly Entry[]>;

  constructor(tasks: Iterable<ServedTask>) {
    const entries = [...tasks].flatMap((served) => {
      const { task } = served.task;
      const frame = templateFrame(task.prompt.template);
      return task.matchCalls && frame ? [{ served, workload: workloadOfTask(task), frame }] : [];
    });
    // Where the frames of two tasks fit, the longer one says more.
    entries.sort((a, b) => frameLength(b.frame) - frameLength(a.frame));
    this.#byPrompt = Map.groupBy(entries, ({ served }) => served.task.task.prompt.instructions);
  }

  match({ system, schema, user, obstacle }: ChatCall): MatchedCall | undefined {
    const entries = this.#byPrompt.get(system);
    if (!entries || obstacle !== undefined || user === undefined) return undefined;
    const workload = workloadId(system, schema);
    for (const { served, workload: own, frame } of entries) {
      const text = own === workload ? insideFrame(frame, user) : undefined;
      if (text !== undefined) return { served, input: { [frame.field]: text } };
    }
    return undefined;
  }
}

const frameLength = ({ prefix, suffix }: TemplateFrame): number => prefix.length + suffix.length;
