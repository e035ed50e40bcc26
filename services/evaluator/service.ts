import { EvaluatorService } from '@understudy/contract/evaluator';
import { PairStoreService } from '@understudy/contract/pair-store';
import { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import type { ServiceContext, ServiceDefinition, ServiceParts } from '@understudy/service/lifecycle';
import { createClient } from '@understudy/service/rpc/client';
import { rpcService } from '@understudy/service/rpc/server';
import { readSigningKey } from '@understudy/service/signatures/keys';
import { CancelledRuns } from './cancelled-runs.ts';
import { type Config, config } from './config.ts';
import type { EvaluatorContext } from './context.ts';
import { Journal } from './journal.ts';
import { Looks } from './looks.ts';
import { onStudentTrained } from './on-student-trained.ts';
import { ReportIndex } from './report-index.ts';
import { getReport } from './routes/get-report.ts';
import { listReports } from './routes/list-reports.ts';

export const definition: ServiceDefinition<Config> = { name: 'evaluator', config, create };

async function create(base: ServiceContext<Config>): Promise<ServiceParts> {
  const context = await contextOf(base);
  return {
    rpc: [
      rpcService(EvaluatorService, {
        getReport: (request) => getReport(context, request),
        listReports: (request) => listReports(context, request),
      }),
    ],
    consumers: {
      // One at a time: latencies are measured here.
      'evaluator-students': { concurrency: 1, on: { 'student.trained': (event) => onStudentTrained(context, event) } },
    },
    start: async () => context.cancelled.start(base.bus, base.telemetry),
    stop: async () => {
      await context.cancelled.stop();
      context.pairStore.close();
      context.teacher?.close();
    },
  };
}

export async function contextOf(base: ServiceContext<Config>): Promise<EvaluatorContext> {
  return {
    ...base,
    pairStore: createClient(PairStoreService, { address: base.config.PAIR_STORE_ADDRESS, token: base.rpcToken }),
    teacher: base.config.TEACHER_GATEWAY_ADDRESS
      ? createClient(TeacherGatewayService, { address: base.config.TEACHER_GATEWAY_ADDRESS, token: base.rpcToken })
      : undefined,
    deployments: await base.bus.bucket('deployments'),
    looks: new Looks(await base.bus.bucket('looks'), base.blobs),
    reports: new ReportIndex(await base.bus.bucket('reports'), base.blobs),
    cancelled: new CancelledRuns(),
    journal: new Journal(base.telemetry),
    signingKey: readSigningKey(base.config.REPORT_SIGNING_KEY_FILE, 'REPORT_SIGNING_KEY_FILE'),
  };
}
