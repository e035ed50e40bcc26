import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import { type ServiceName, serviceNames } from '@understudy/contract';
import { DeployerService, QuarantineService } from '@understudy/contract/deployer';
import { ErasureService } from '@understudy/contract/erasure';
import { EvaluatorService } from '@understudy/contract/evaluator';
import { ForgettingService, ReviewService, WorkloadService } from '@understudy/contract/pair-store';
import { PromptService } from '@understudy/contract/prompt';
import { StudentGatewayService } from '@understudy/contract/student-gateway';
import { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { ExitError, exitCodes } from './errors.ts';
import { type RunFile, readRunFile } from './platform.ts';

/** The repository. */
export const root = resolve(import.meta.dirname, '../..');

/** `UNDERSTUDY_DATA`, relative to the repository; `.understudy` in it where absent. */
export const dataFolder = (): string => resolve(root, process.env.UNDERSTUDY_DATA || '.understudy');

/** Where a platform is. */
export type Whereabouts = Omit<RunFile, 'supervisor' | 'processes'>;

/** Clients of a platform; close them at the end. */
export interface Connection extends Disposable {
  run: Whereabouts;
  prompt: RpcClient<typeof PromptService>;
  evaluator: RpcClient<typeof EvaluatorService>;
  deployer: RpcClient<typeof DeployerService>;
  review: RpcClient<typeof ReviewService>;
  workloads: RpcClient<typeof WorkloadService>;
  studentGateway: RpcClient<typeof StudentGatewayService>;
  teacherGateway: RpcClient<typeof TeacherGatewayService>;
  forgetting: RpcClient<typeof ForgettingService>;
  quarantine: RpcClient<typeof QuarantineService>;
  /** A service that erases what it keeps of inputs. */
  eraser(name: 'prompt' | 'teacher-gateway' | 'student-gateway' | 'trainer'): RpcClient<typeof ErasureService>;
}

/**
 * Connects to the platform that the environment names (as in `deploy/compose.yaml`), else to the one that runs on the
 * data folder. @throws ExitError when there is none
 */
export const connect = (): Connection => {
  const run = process.env.PROMPT_ADDRESS ? fromEnvironment(process.env) : fromDataFolder(dataFolder());
  const token = readFileSync(run.rpcTokenFile, 'utf8').trim();
  const opened: { close(): void }[] = [];
  const client = <S extends GenService<GenServiceMethods>>(service: S, name: ServiceName): RpcClient<S> => {
    const made = createClient(service, { address: addressOf(run, name), token });
    opened.push(made);
    return made;
  };
  return {
    run,
    prompt: client(PromptService, 'prompt'),
    evaluator: client(EvaluatorService, 'evaluator'),
    deployer: client(DeployerService, 'deployer'),
    review: client(ReviewService, 'pair-store'),
    workloads: client(WorkloadService, 'pair-store'),
    studentGateway: client(StudentGatewayService, 'student-gateway'),
    teacherGateway: client(TeacherGatewayService, 'teacher-gateway'),
    forgetting: client(ForgettingService, 'pair-store'),
    quarantine: client(QuarantineService, 'deployer'),
    eraser: (name) => client(ErasureService, name),
    [Symbol.dispose]: () => {
      for (const { close } of opened) close();
    },
  };
};

const fromDataFolder = (folder: string): Whereabouts => {
  const run = readRunFile(folder);
  if (run) return run;
  throw new ExitError(exitCodes.notRunning, `no platform runs on ${folder}: start one with npm run up`);
};

/** `PROMPT_ADDRESS` and its like, as services have them. */
const fromEnvironment = (env: NodeJS.ProcessEnv): Whereabouts => {
  const addresses = serviceNames.map((name) => [name, env[`${name.toUpperCase().replaceAll('-', '_')}_ADDRESS`]]);
  const required = (name: string): string => {
    const value = env[name];
    if (value) return value;
    throw new ExitError(exitCodes.badInput, `${name}: expected a value, because PROMPT_ADDRESS is set; came nothing`);
  };
  return {
    natsUrl: required('NATS_URL'),
    grpc: Object.fromEntries(addresses.filter(([, address]) => address)),
    metrics: {},
    httpUrl: required('HTTP_URL'),
    rpcTokenFile: required('RPC_TOKEN_FILE'),
    idKeyFile: env.ID_KEY_FILE || undefined,
    operatorSeedFile: required('NATS_NKEY_FILE'),
  };
};

const addressOf = (run: Whereabouts, name: ServiceName): string => {
  const address = run.grpc[name];
  if (!address) throw new ExitError(exitCodes.badInput, `the address of ${name} is not known`);
  return address;
};
