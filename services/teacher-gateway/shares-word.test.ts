import { expect, test } from 'vitest';
import { sharesWord } from './shares-word.ts';

test.each([
  ['context length exceeded: "Please refund Zebrafink"', 'please refund zebrafink of Poste Lane'],
  ['cannot parse refundZebra', 'a refund'],
  ['bad token in ebrafin', 'Zebrafink'],
  ['%7B%22text%22%3A%22Zebrafink%22%7D', 'Zebrafink'],
  ['无法处理：退款申请', '我的退款在哪里'],
  ['no account 4711', 'account number 4711-2'],
])('%j may quote %j', (said, text) => {
  expect(sharesWord(said, text)).toBe(true);
});

test.each([
  ['the model fell over', 'where is my parcel'],
  ['', 'where is my parcel'],
  ['Incorrect API key', ''],
  ['Rate limit reached for gpt-4.1 on tokens per min', 'a refund of mine'],
])('%j cannot quote %j', (said, text) => {
  expect(sharesWord(said, text)).toBe(false);
});
