import { type Candidate, CandidateStatus, type StudentTrained } from '@understudy/contract';
import { TerminalError } from '@understudy/service/errors';
import { sha256Hex } from '@understudy/task';

/** What is judged: one student of one seal of a run. The same turn is looked at, reported and told of once. */
export interface Turn {
  /** SHA-256 of all that makes it this turn. */
  id: string;
  task: string;
  taskDigest: string;
  runId: string;
  seal: number;
  snapshot: { digest: string; fingerprint: string; trainPairs: number; devPairs: number; testPairs: number };
  student: { digest: string; family: string; sizeBytes: number };
  /** What the trainer says of all it tried: reported, never judged by. */
  candidates: TriedCandidate[];
  /** The student's candidate on nested parts of train; empty where dev says that it is good enough. */
  curve: { trainPairs: number; covered: number; agreeing: number }[];
  /** Blob digest of the suspects that the trainer found; empty where none were looked for. */
  foldsDigest: string;
}

/** A rung of the trainer's ladder; figures are of dev, and null where it was not trained to the end. */
export interface TriedCandidate {
  name: string;
  status: string;
  /** Why it was not trained to the end; empty where it was. */
  reason: string;
  onFront: boolean;
  trained: {
    digest: string;
    agreement: number;
    coverage: number;
    sizeBytes: number;
    latencyUs: number;
    trainingMs: number;
  } | null;
}

const DIGEST = /^[0-9a-f]{64}$/;

/** @throws TerminalError when the event lacks its snapshot or its student */
export function turnOf(event: StudentTrained): Turn {
  const { runId, task, taskDigest, seal, snapshot, student, candidates, foldsDigest } = event;
  if (!snapshot || !DIGEST.test(snapshot.digest)) throw missing('snapshot.digest', snapshot?.digest);
  if (!student || !DIGEST.test(student.digest)) throw missing('student.digest', student?.digest);
  if (foldsDigest !== '' && !DIGEST.test(foldsDigest)) throw missing('folds_digest', foldsDigest);
  const { digest, fingerprint, trainPairs, devPairs, testPairs } = snapshot;
  return {
    id: sha256Hex([runId, seal, taskDigest, digest, student.digest].join('\n')),
    task,
    taskDigest,
    runId,
    seal,
    snapshot: { digest, fingerprint, trainPairs, devPairs, testPairs },
    student: { digest: student.digest, family: student.family, sizeBytes: Number(student.sizeBytes) },
    candidates: candidates.map(triedOf),
    foldsDigest,
    curve: event.curve.map(({ trainPairs, covered, agreeing }) => ({ trainPairs, covered, agreeing })),
  };
}

function triedOf(candidate: Candidate): TriedCandidate {
  const { name, reason, onFront, digest, devAgreement, devCoverage } = candidate;
  const trained = {
    digest,
    agreement: devAgreement,
    coverage: devCoverage,
    sizeBytes: Number(candidate.sizeBytes),
    latencyUs: Number(candidate.latencyUs),
    trainingMs: Number(candidate.trainingMs),
  };
  const isTrained = candidate.status === CandidateStatus.TRAINED;
  return {
    name,
    status: CandidateStatus[candidate.status].toLowerCase(),
    reason,
    onFront,
    trained: isTrained ? trained : null,
  };
}

const missing = (field: string, came: string | undefined) =>
  new TerminalError(`student.trained: ${field}: expected 64 hex digits, came ${JSON.stringify(came ?? 'nothing')}`);
