import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import type { ServiceName } from '@understudy/contract';
import { DeployerService } from '@understudy/contract/deployer';
import { EvaluatorService } from '@understudy/contract/evaluator';
import { PromptService } from '@understudy/contract/prompt';
import { StudentGatewayService } from '@understudy/contract/student-gateway';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { ExitError, exitCodes } from './errors.ts';
import { type RunFile, readRunFile } from './platform.ts';

/** The repository. */
export const root = resolve(import.meta.dirname, '../..');

/** `UNDERSTUDY_DATA`, relative to the repository; `.understudy` in it where absent. */
export const dataFolder = (): string => resolve(root, process.env.UNDERSTUDY_DATA || '.understudy');

/** Clients of the platform that runs on the data folder; close them at the end. */
export interface Connection extends Disposable {
  run: RunFile;
  prompt: RpcClient<typeof PromptService>;
  evaluator: RpcClient<typeof EvaluatorService>;
  deployer: RpcClient<typeof DeployerService>;
  studentGateway: RpcClient<typeof StudentGatewayService>;
}

/** @throws ExitError when no platform was ever started on the data folder */
export const connect = (): Connection => {
  const folder = dataFolder();
  const run = readRunFile(folder);
  if (!run) {
    throw new ExitError(exitCodes.notRunning, `no platform runs on ${folder}: start one with npm run up`);
  }
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
    studentGateway: client(StudentGatewayService, 'student-gateway'),
    [Symbol.dispose]: () => {
      for (const { close } of opened) close();
    },
  };
};

const addressOf = (run: RunFile, name: ServiceName): string => {
  const address = run.grpc[name];
  if (!address) throw new ExitError(exitCodes.failed, `run.json names no address of ${name}`);
  return address;
};
