import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Purpose, Source, Verdict } from '@understudy/contract';
import { RunStage } from '@understudy/contract/prompt';
import type { RunningService } from '@understudy/service/lifecycle';
import { allHandled } from '@understudy/service/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientOf, type PromptClient, runWhen, Stage, taskOf } from './testing.ts';

let stage: Stage;
let service: RunningService;
let client: PromptClient;
beforeAll(async () => {
  stage = await Stage.set();
  service = await stage.service();
  client = clientOf(service);
});
afterAll(async () => {
  client.close();
  await service.stop();
  await stage[Symbol.asyncDispose]();
});

const inStage = (wanted: RunStage) => (run: { stage: RunStage }) => run.stage === wanted;

/** Applies a task over a fresh source and starts a run of it. */
async function started(name: string, prompts: number, change: Record<string, unknown> = {}, more = '') {
  const path = await stage.source(`${name}.jsonl`, prompts, more);
  const { taskDigest } = await client.applyTask({
    taskJson: taskOf(name, { sources: [{ kind: 'jsonl', path }], ...change }),
  });
  const { runId } = await client.startRun({ task: name });
  return { runId, task: name, taskDigest };
}

describe('tasks', () => {
  test('the same content makes no new revision, other content does, and both versions stay readable', async () => {
    const first = await client.applyTask({ taskJson: taskOf('versions') });
    expect(first).toMatchObject({ task: 'versions', changed: true });
    expect(await client.applyTask({ taskJson: taskOf('versions') })).toMatchObject({ ...first, changed: false });
    const second = await client.applyTask({ taskJson: taskOf('versions', { description: 'other' }) });
    expect(second.changed).toBe(true);
    const newest = await client.getTask({ task: 'versions' });
    expect(JSON.parse(newest.taskJson).description).toBe('other');
    const old = await client.getTask({ task: 'versions', taskDigest: first.taskDigest });
    expect(old.taskJson).toBe(taskOf('versions'));
    expect((await client.listTasks({})).tasks).toContain('versions');
    const stored = await stage.blobs.get('tasks', first.taskDigest);
    expect(new TextDecoder().decode(stored)).toBe(taskOf('versions'));
  });

  test.each([
    ['{', /expected a task as JSON/],
    ['{"name":"x","nome":1}', /nome: unknown key nome; expected one of name/],
    [taskOf('unseen', { live: { audit: { share: 0 } }, deployment: { stages: ['canary'] } }), /allows no checks/],
  ])('%s is refused', async (taskJson, message) => {
    await expect(client.applyTask({ taskJson })).rejects.toThrow(message);
  });

  test('one that nobody applied is not found', async () => {
    await expect(client.getTask({ task: 'nobody' })).rejects.toThrow(/no task nobody: apply it first/);
    await expect(client.startRun({ task: 'nobody' })).rejects.toThrow(/no task nobody: apply it first/);
  });
});

describe('a sample without a run', () => {
  test('is what a run asks first, whatever its size', async () => {
    const { runId, task, taskDigest } = await started('streamed', 40, { batches: { first: 30 } });
    const streamed = async (prompts: number) => {
      const all = [];
      for await (const part of client.streamSample({ task, taskDigest, prompts })) all.push(...part.prompts);
      return all;
    };
    const sample = await streamed(30);
    expect(await streamed(10)).toEqual(sample.slice(0, 10));
    expect(sample[0]).toMatchObject({ source: Source.RANDOM, weight: 1 });
    await runWhen(client, runId, ({ answered }) => answered === 30);
    const asked = [...stage.answerer.prompts.values()].filter((prompt) => prompt.runId === runId);
    expect(new Set(asked.map(({ promptId }) => promptId))).toEqual(new Set(sample.map(({ promptId }) => promptId)));
  });

  test('of no such version is not found', async () => {
    const all = async () => {
      for await (const _ of client.streamSample({ task: 'streamed', taskDigest: 'f'.repeat(64) })) break;
    };
    await expect(all()).rejects.toThrow(/no task streamed f+: apply it first/);
  });
});

describe('a run', () => {
  test('submits a random sample, closes the batch with its manifest, and follows the facts to promotion', async () => {
    const more = '{"text":"promote.jsonl 0"}\nnot json\n{"text":"an example"}\n';
    const examples = [{ input: { text: 'an example' }, output: { label: 'ham' } }];
    const run = await started('promote', 300, { batches: { first: 200 }, examples }, more);
    const answered = await runWhen(client, run.runId, ({ answered }) => answered === 200);
    expect(answered).toMatchObject({
      stage: RunStage.LABELLING,
      population: 300,
      duplicates: 1,
      badRecords: 1,
      submitted: 200,
      batches: 1,
      teacherCalls: 200,
    });
    expect(answered.badRecordDetails).toEqual([
      expect.stringMatching(/promote.jsonl:302: expected a JSON object, got not json/),
    ]);

    await expect.poll(() => stage.facts('batch.closed', run.runId)).toHaveLength(1);
    const [closed] = await stage.facts('batch.closed', run.runId);
    expect(closed).toMatchObject({ batch: 1, count: 200, seal: true });
    const manifest = new TextDecoder().decode(await stage.blobs.get('manifests', closed!.manifestDigest)).split('\n');
    const prompts = [...stage.answerer.prompts.values()].filter(({ runId }) => runId === run.runId);
    expect(manifest).toEqual(prompts.map(({ promptId }) => promptId).sort());
    expect(prompts.every(({ inputJson }) => !inputJson.includes('an example'))).toBe(true);
    expect(prompts.reduce((sum, { weight }) => sum + weight, 0)).toBeGreaterThanOrEqual(200);

    await stage.publish('pairs.sealed', '1', { ...run, seal: 1, answered: 200, snapshot: { trainPairs: 140 } });
    await stage.publish('training.progressed', '1', { ...run, epoch: 1, epochs: 6, loss: 0.5 });
    await stage.publish('student.trained', '1', { ...run, seal: 1, student: { family: 'bag' } });
    await stage.publish('eval.passed', '1', { ...run, seal: 1, summary: { reportDigest: 'r' } });
    await stage.publish('student.promoted', '1', { ...run, generation: 3n });
    const over = await runWhen(client, run.runId, inStage(RunStage.FINISHED));
    expect(over).toMatchObject({ verdict: Verdict.PROMOTED, generation: 3n, student: { family: 'bag' } });
    await expect.poll(() => stage.facts('run.finished', run.runId)).toMatchObject([{ verdict: Verdict.PROMOTED }]);
    expect(await stage.facts('run.cancelled', run.runId)).toEqual([]);
    expect((await client.listRuns({ task: 'promote' })).runs.map(({ runId }) => runId)).toEqual([run.runId]);
  });

  test('takes finished pairs from a log without asking, inputs of a grammar to train on, and says what came of each', async () => {
    const logged = (text: string, label: string) => ({
      request: {
        model: 'big',
        messages: [
          { role: 'system', content: 'Sort mail.' },
          { role: 'user', content: text },
        ],
      },
      response: { model: 'big', choices: [{ message: { content: JSON.stringify({ label }) } }] },
    });
    const lines = [
      ...Array.from({ length: 30 }, (_, i) => logged(`logged ${i}`, 'ham')),
      logged('logged 3', 'spam'),
      logged('odd', 'eggs'),
    ];
    const path = join(stage.folder, 'calls.jsonl');
    await writeFile(path, lines.map((line) => JSON.stringify(line)).join('\n'));
    const grammar = {
      kind: 'grammar',
      limit: 4,
      templates: [{ fields: { text: 'made {{n}}' } }],
      lexicons: { n: ['1', '2', '3', '4', '5'] },
    };
    const sources = [
      { kind: 'jsonl', path: await stage.source('asked.jsonl', 40) },
      { kind: 'log', name: 'last month', path, population: true },
      grammar,
    ];
    const run = await started('several', 1, { sources, budget: { calls: 50, usd: 0 } });
    const state = await runWhen(client, run.runId, ({ answered }) => answered === 74);
    expect(state).toMatchObject({ submitted: 74, cached: 30, population: 74, badRecords: 1, duplicates: 1 });
    expect(state.sources).toMatchObject([
      { source: expect.stringMatching(/^jsonl .*asked.jsonl$/), records: 40, trainsOnly: false },
      {
        source: expect.stringMatching(/^log /),
        records: 32,
        pairs: 31,
        badRecords: 1,
        faults: { 'invalid-answer': 1 },
      },
      { source: 'grammar', records: 4, possible: 5n, trainsOnly: true },
    ]);
    const asked = [...stage.answerer.prompts.values()].filter(({ runId }) => runId === run.runId);
    const textsFrom = (source: Source) =>
      asked.filter((prompt) => prompt.source === source).map(({ inputJson }) => inputJson.replace(/\d+.*/, ''));
    expect(new Set(textsFrom(Source.RANDOM))).toEqual(new Set(['{"text":"asked.jsonl ']));
    expect(textsFrom(Source.SELECTED)).toEqual(new Array(4).fill('{"text":"made '));
    const origins = (source: Source) => asked.filter((prompt) => prompt.source === source).map(({ origin }) => origin);
    expect(new Set(origins(Source.RANDOM))).toEqual(new Set([expect.stringMatching(/asked.jsonl$/)]));
    expect(new Set(origins(Source.SELECTED))).toEqual(new Set(['grammar']));
    const imported = [...stage.answerer.imported].filter(([key]) => key.startsWith(run.runId)).map(([, pair]) => pair);
    expect(imported).toHaveLength(30);
    for (const { purpose, source, origin, answerJson } of imported) {
      expect([purpose, source, origin, answerJson]).toEqual([
        Purpose.IMPORTED,
        Source.RANDOM,
        'last month',
        '{"label":"ham"}',
      ]);
    }
    await expect.poll(() => stage.facts('batch.closed', run.runId)).toMatchObject([{ count: 74 }]);
  });

  test('asks further prompts after eval.failed, none of them again, until the population is spent', async () => {
    const run = await started('further', 450, { batches: { first: 200, growth: 1 } });
    await runWhen(client, run.runId, ({ answered }) => answered === 200);
    await stage.publish('eval.failed', '1', { ...run, seal: 1, morePairs: 100, reason: 'close' });
    const second = await runWhen(client, run.runId, ({ answered }) => answered === 400);
    expect(second).toMatchObject({ batches: 2, submitted: 400 });
    await expect
      .poll(async () => (await stage.facts('batch.closed', run.runId)).map(({ count }) => count))
      .toEqual([200, 200]);
    await stage.publish('eval.failed', '2', { ...run, seal: 2, morePairs: 100, reason: 'close again' });
    const over = await runWhen(client, run.runId, inStage(RunStage.FINISHED));
    expect(over.verdict).toBe(Verdict.FAILED);
    expect(over.reason).toMatch(
      /^close again; no further batch, because all 450 inputs within the budget have been asked/,
    );
  });

  test('never submits more prompts than the budget has calls', async () => {
    const run = await started('budget', 300, { budget: { calls: 120, usd: 0 } });
    expect(await runWhen(client, run.runId, ({ answered }) => answered === 120)).toMatchObject({ submitted: 120 });
    await expect.poll(() => stage.facts('batch.closed', run.runId)).toMatchObject([{ count: 120 }]);
  });

  test('is started once by one id, and refused where the id is taken by another task', async () => {
    const { task } = await started('once', 10);
    await client.startRun({ task, runId: 'my-run' });
    await client.startRun({ task, runId: 'my-run' });
    expect((await client.listRuns({ task })).runs).toHaveLength(2);
    await client.applyTask({ taskJson: taskOf('other') });
    await expect(client.startRun({ task: 'other', runId: 'my-run' })).rejects.toThrow(
      /my-run is of task once, not of other/,
    );
    await expect(client.startRun({ task, runId: 'a.b' })).rejects.toThrow(/run_id: expected 1 to 64 of A-Z/);
  });

  test('is cancelled: nothing more is submitted, and everyone is told', async () => {
    stage.answerer.pause();
    const run = await started('cancel', 30_000, { batches: { first: 30_000 } });
    await runWhen(client, run.runId, ({ submitted }) => submitted >= 20_000);
    const { run: cancelled } = await client.cancelRun({ runId: run.runId, reason: 'enough' });
    expect(cancelled).toMatchObject({ stage: RunStage.FINISHED, verdict: Verdict.CANCELLED, reason: 'enough' });
    await expect.poll(() => stage.facts('run.finished', run.runId)).toHaveLength(1);
    expect(await stage.facts('run.cancelled', run.runId)).toMatchObject([{ reason: 'enough' }]);
    stage.answerer.resume();
    expect(await stage.facts('batch.closed', run.runId)).toEqual([]);
    await expect(client.cancelRun({ runId: 'unknown' })).rejects.toThrow(/no run unknown/);
    await expect(client.getRun({ runId: 'unknown' })).rejects.toThrow(/no run unknown/);
    await expect(Array.fromAsync(client.watchRun({ runId: 'unknown' }))).rejects.toThrow(/no run unknown/);
  });

  test('waits for answers instead of filling the bus', async () => {
    stage.answerer.pause();
    const run = await started('ahead', 25_000, { batches: { first: 25_000 } });
    const full = await runWhen(client, run.runId, ({ submitted }) => submitted === 20_000);
    expect(full.answered).toBe(0);
    const { looks } = stage.answerer;
    await expect.poll(() => stage.answerer.looks).toBeGreaterThan(looks + 3);
    expect((await client.getRun({ runId: run.runId })).run?.submitted).toBe(20_000);
    stage.answerer.resume();
    await runWhen(client, run.runId, ({ answered }) => answered === 25_000);
  });
});

describe('a source that cannot be used', () => {
  test.each([
    ['missing', '/nowhere/at-all.jsonl', /at-all.jsonl: expected one JSON object a line, but it cannot be read/],
    ['binary', process.execPath, /expected one JSON object a line, got a binary file/],
  ])('fails StartRun: %s', async (name, path, message) => {
    await client.applyTask({ taskJson: taskOf(name, { sources: [{ kind: 'jsonl', path }] }) });
    await expect(client.startRun({ task: name })).rejects.toThrow(message);
  });

  test('fails StartRun where the task has none', async () => {
    await client.applyTask({ taskJson: taskOf('none') });
    await expect(client.startRun({ task: 'none' })).rejects.toThrow(/task none has no sources; add some/);
  });

  test('breaks the run where it shows only later', async () => {
    const run = await started('bad', 5, {}, 'bad\n'.repeat(1_100));
    const over = await runWhen(client, run.runId, inStage(RunStage.FINISHED));
    expect(over.verdict).toBe(Verdict.BROKEN);
    expect(over.reason).toMatch(
      /expected at most 1000 bad records, got more; the first: .*bad.jsonl:6: expected a JSON object/,
    );
  });
});

describe('a run is closed', () => {
  test('when its message was given up on', async () => {
    const run = await started('letters', 50);
    await runWhen(client, run.runId, ({ answered }) => answered === 50);
    const sealed = { ...run, seal: 1, answered: 50, snapshot: { trainPairs: 30 } };
    await stage.publish('pairs.sealed', '1', sealed);
    await runWhen(client, run.runId, inStage(RunStage.TRAINING));
    const { Consumption } = await import('@understudy/service/bus/consume');
    const { TerminalError } = await import('@understudy/service/errors');
    const trainer = new Consumption(stage.bus, 'trainer-snapshots', {
      concurrency: 1,
      on: {
        'pairs.sealed': async () => {
          throw new TerminalError('out of memory');
        },
      },
    });
    trainer.start();
    const over = await runWhen(client, run.runId, inStage(RunStage.FINISHED));
    await trainer.stop(1_000);
    expect(over).toMatchObject({
      verdict: Verdict.BROKEN,
      reason: 'trainer-snapshots gave up on pairs.sealed: out of memory',
    });
    await expect.poll(() => stage.facts('run.cancelled', run.runId)).toHaveLength(1);
  });

  test('but not by facts about another version of its task, nor by what this service itself gave up on', async () => {
    const run = await started('forged', 50);
    await runWhen(client, run.runId, ({ answered }) => answered === 50);
    await stage.publish('pairs.sealed', '1', { ...run, seal: 1, answered: 50 });
    await stage.publish('student.trained', '1', { ...run, seal: 1, student: { family: 'bag' } });
    await runWhen(client, run.runId, inStage(RunStage.EVALUATING));
    const before = await stage.facts('message.dead-lettered', run.runId);
    const forged = { ...run, taskDigest: 'f'.repeat(64), seal: 1 };
    await stage.publish('student.trained', 'forged', forged);
    await stage.publish('eval.failed', 'forged', { ...forged, reason: 'forged' });
    await expect.poll(() => stage.facts('message.dead-lettered', run.runId)).toHaveLength(before.length + 2);
    await stage.publish('eval.passed', '1', { ...run, seal: 1, summary: { reportDigest: 'r' } });
    await stage.publish('student.promoted', '1', { ...run, generation: 1n });
    const over = await runWhen(client, run.runId, inStage(RunStage.FINISHED));
    expect(over.verdict).toBe(Verdict.PROMOTED);
  });

  test('when the teacher answers nothing', async () => {
    stage.answerer.declining = true;
    const run = await started('declining', 500);
    const over = await runWhen(client, run.runId, inStage(RunStage.FINISHED));
    stage.answerer.declining = false;
    expect(over.verdict).toBe(Verdict.BROKEN);
    expect(over.reason).toMatch(/the teacher answered none of the first \d+ prompts \(UNAVAILABLE \d+\)/);
    await expect.poll(() => stage.facts('run.finished', run.runId)).toHaveLength(1);
  });
});

describe('enough new pairs', () => {
  test('begin one run, however often and by however many they are told; the week then has no second one', async () => {
    const path = await stage.source('gathered.jsonl', 20);
    const { taskDigest } = await client.applyTask({
      taskJson: taskOf('gathered', {
        sources: [{ kind: 'jsonl', path }],
        deployment: { retrain: { runsPerWeek: 1, cooldownMinutes: 0 } },
      }),
    });
    const gathered = { task: 'gathered', taskDigest, servingGeneration: 3n, snapshotPairs: 200, newPairs: 200 };
    for (const entity of ['first', 'again']) await stage.publish('pairs.gathered', entity, { ...gathered, times: 1 });
    await stage.publish('pairs.gathered', 'more', { ...gathered, times: 2 });
    await expect.poll(async () => (await client.listRuns({ task: 'gathered' })).runs).toHaveLength(1);
    await runWhen(client, 'auto-gathered-pairs-3-1', ({ answered }) => answered === 20);
    await allHandled(stage.bus.bus, 'prompt-policy');
    expect((await client.listRuns({ task: 'gathered' })).runs.map(({ runId }) => runId)).toEqual([
      'auto-gathered-pairs-3-1',
    ]);
    expect(await stage.facts('run.requested', 'auto-gathered-pairs-3-1')).toHaveLength(1);
  });
});

describe('an outside program', () => {
  test('starts a run by an event', async () => {
    const path = await stage.source('event.jsonl', 20);
    const { taskDigest } = await client.applyTask({
      taskJson: taskOf('event', { sources: [{ kind: 'jsonl', path }] }),
    });
    await stage.publish('run.requested', 'by-event', { runId: 'by-event', task: 'event', taskDigest });
    await expect.poll(async () => (await client.listRuns({ task: 'event' })).runs).toHaveLength(1);
    await runWhen(client, 'by-event', ({ answered }) => answered === 20);
  });

  test('hears a verdict also for what cannot be run', async () => {
    const taskDigest = 'a'.repeat(64);
    await stage.publish('run.requested', 'no-task', { runId: 'no-task', task: 'unheard', taskDigest });
    await expect
      .poll(() => stage.facts('run.finished', 'no-task'))
      .toMatchObject([
        { verdict: Verdict.BROKEN, reason: expect.stringMatching(/no version a{64} of task unheard is known/) },
      ]);
  });

  test('submits prompts of its own, with or without asking first, and the run is followed to its verdict', async () => {
    const { taskDigest } = await client.applyTask({ taskJson: taskOf('own') });
    for (const asks of [true, false]) {
      const run = { runId: `own-${asks}`, task: 'own', taskDigest };
      if (asks) await stage.publish('run.requested', run.runId, { ...run, ownPrompts: true });
      await stage.publish('batch.closed', '1', { ...run, batch: 1, seal: true, promptIds: new Uint8Array(64) });
      await expect
        .poll(async () => (await client.listRuns({ task: 'own' })).runs.map(({ runId }) => runId))
        .toContain(run.runId);
      expect(await runWhen(client, run.runId, ({ batches }) => batches === 1)).toMatchObject({ submitted: 2 });
      await stage.publish('eval.failed', '1', { ...run, seal: 1, morePairs: 500, reason: 'too few' });
      const over = await runWhen(client, run.runId, inStage(RunStage.FINISHED));
      expect(over).toMatchObject({ verdict: Verdict.FAILED, reason: 'too few' });
    }
  });
});
