export * from './gen/understudy/event/v1/facts_pb.js';
export * from './gen/understudy/event/v1/values_pb.js';
export * from './subjects.ts';
export * from './table.ts';
