import { expect, it } from 'vitest';
import { placeOf } from './place.ts';

const onCuda = { engine: 'ort', device: 'cuda' } as const;

it('keeps a bag off a GPU that nobody asked for', () => {
  expect(placeOf('bag', onCuda, 'auto')).toEqual({ engine: 'ort', device: 'cpu' });
  expect(placeOf('bag', onCuda, 'gpu')).toEqual(onCuda);
  expect(placeOf('bag', { engine: 'tfjs', device: 'cpu' }, 'auto')).toEqual({ engine: 'tfjs', device: 'cpu' });
  expect(placeOf('transformer', onCuda, 'auto')).toEqual(onCuda);
});
