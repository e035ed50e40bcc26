/** pair-store as a process that dies by kill -9 just before it touches the blob store in one way; `kill.test.ts` starts it. */
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { startService } from '@understudy/service/lifecycle';
import { definition } from '../service.ts';

const { DIES_BEFORE } = process.env;
const blobs = await openBlobStore({ ...process.env, DATA_DIR: process.env.DATA_DIR ?? '.understudy' });
let erasing = false;

const mortal = new Proxy(blobs, {
  get(target, name) {
    const value = Reflect.get(target, name);
    if (typeof value !== 'function') return value;
    return (...given: unknown[]) => {
      // Snapshots are listed where rows are gone already, and before that they are sealed.
      if (name === 'list' && given[0] === 'snapshots') erasing = true;
      if (erasing && name === DIES_BEFORE) process.kill(process.pid, 'SIGKILL');
      return value.apply(target, given);
    };
  },
});

const { grpcPort } = await startService(definition, process.env, { blobs: mortal });
process.send?.({ grpcPort });
