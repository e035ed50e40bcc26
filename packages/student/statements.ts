/** What a trainer says of a student and an evaluator of a report when they sign it, and who is believed. */
import { type Key, readTrustedKeys } from '@understudy/service/signatures/keys';
import type { Statement } from '@understudy/service/signatures/statements';

/** Keys whose signatures are asked for; undefined where none is. */
export interface Trusted {
  readonly students: readonly Key[] | undefined;
  readonly reports: readonly Key[] | undefined;
}

/** Settings of whoever asks for signatures: files with public Ed25519 keys in PEM. */
export interface TrustSettings {
  readonly TRUSTED_STUDENT_KEYS_FILE?: string | undefined;
  readonly TRUSTED_REPORT_KEYS_FILE?: string | undefined;
}

/** @throws StartupError when a file holds anything but such keys */
export const readTrusted = ({ TRUSTED_STUDENT_KEYS_FILE, TRUSTED_REPORT_KEYS_FILE }: TrustSettings): Trusted => ({
  students: readTrustedKeys(TRUSTED_STUDENT_KEYS_FILE, 'TRUSTED_STUDENT_KEYS_FILE'),
  reports: readTrustedKeys(TRUSTED_REPORT_KEYS_FILE, 'TRUSTED_REPORT_KEYS_FILE'),
});

export interface SignedStudent {
  readonly studentDigest: string;
  readonly task: string;
  readonly taskDigest: string;
}

export interface SignedReport extends SignedStudent {
  readonly reportDigest: string;
  readonly runId: string;
  /** Empty where the report has none. */
  readonly policyDigest: string;
}

/** That this bundle was trained for this version of this task. What it was trained on stands in the bundle. */
export const studentStatement = ({ studentDigest, task, taskDigest }: SignedStudent): Statement => ({
  kind: 'students',
  digest: studentDigest,
  predicate: { task, taskDigest },
});

/** That this report judged this student with this policy, for this version of this task, in this run, and how. */
export const reportStatement = (
  { reportDigest, task, taskDigest, runId, studentDigest, policyDigest }: SignedReport,
  passed: boolean,
): Statement => ({
  kind: 'reports',
  digest: reportDigest,
  predicate: { task, taskDigest, runId, studentDigest, policyDigest, passed },
});
