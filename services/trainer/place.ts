import type { Place, Wish } from '@understudy/graph';
import type { Family } from '@understudy/student';

const ON_THE_PROCESSOR: Place = { engine: 'ort', device: 'cpu' };

/**
 * Where a candidate of a family trains. A bag does little arithmetic for the memory it moves: on an H100 its steps took
 * four times as long as on a processor, so it goes to a GPU only where one was asked for.
 */
export const placeOf = (family: Family, { engine, device }: Place, wished: Wish['device']): Place =>
  family === 'bag' && wished === 'auto' && device !== 'cpu' ? ON_THE_PROCESSOR : { engine, device };
