/** Writes requests.jsonl: what guests say to a hotel, put together from parts, the same each time. */
import { writeFileSync } from 'node:fs';
import { randomSource } from '@understudy/student/statistics/random-source';

const COUNT = 1_500;

const names =
  'Ann Lee,Bo Lindqvist,Carla Méndez,Dmitri Ivanov,Emeka Obi,Fatima Zahra,Grace Kim,Hiro Tanaka,Ines Duarte'.split(',');
const days = 'today,tonight,tomorrow,on Monday,on Friday,next week,on the 3rd of May,on 12 June,at Christmas'.split(
  ',',
);
const greetings = ['', 'hi, ', 'hello, ', 'good morning. ', 'excuse me, ', "hi, it's me again. "];
const urgencies = ['', '', '', ' as soon as possible', ', it is urgent', ', no hurry', ' whenever you can'];
const asks = [
  (day: string, nights: number) => `i'd like to book a room for ${nights} nights from ${day}`,
  (day: string, nights: number) => `do you have anything for ${nights} nights ${day}?`,
  (day: string) => `please cancel my booking for ${day}`,
  (day: string) => `can i move my stay to ${day}?`,
  (day: string, nights: number) => `we want to stay ${nights} nights longer, until ${day}`,
  () => 'the air conditioning in my room is broken',
  () => 'the room was not cleaned and the towels are dirty',
  () => 'what time is breakfast, and is it included?',
  (day: string) => `is the pool open ${day}?`,
  (day: string) => `the invoice you sent ${day} is wrong`,
];

const random = randomSource(7);
const draw = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item;
const sentence = (): string => {
  const ask = draw(asks)(draw(days), 1 + Math.floor(random() * 14));
  const name = draw(names);
  const signed = draw([ask, ask, `this is ${name}, ${ask}`, `${ask}. ${name}`, `${ask}, the name is ${name}`]);
  return `${draw(greetings)}${signed}${draw(urgencies)}`;
};

const texts = new Set<string>();
while (texts.size < COUNT) texts.add(sentence());
const lines = [...texts].map((text) => `${JSON.stringify({ text })}\n`);
writeFileSync(new URL('requests.jsonl', import.meta.url), lines.join(''));
