/** Tiny models in Hugging Face layout for tests, which know what they are about by their words alone. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cast, Graph, reduceSum, serialize, type Value, vectorOf } from '@understudy/graph';

const SPECIAL = ['[PAD]', '[CLS]', '[SEP]', '[UNK]'];
/** Words of each subject, in the order of the classifier's labels. */
export const SUBJECTS = {
  weather: 'weather rain rains snow sunny clouds storm',
  food: 'food soup salty pizza cheese bread bake',
  music: 'music violin choir song songs band drummer',
} as const;
const subjects = Object.values(SUBJECTS).map((words) => words.split(' '));
const vocabulary = [...SPECIAL, ...subjects.flat(), 'this', 'is', 'about', 'the', 'a'];
const MAX_TOKENS = 24;

const tokenizerJson = (): unknown => {
  const wrap = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const special = (id: string) => [id, { id, ids: [SPECIAL.indexOf(id)], tokens: [id] }];
  const first = [wrap('[CLS]'), { Sequence: { id: 'A', type_id: 0 } }, wrap('[SEP]')];
  return {
    ...{ version: '1.0', truncation: null, padding: null, decoder: { type: 'WordPiece', prefix: '##', cleanup: true } },
    added_tokens: SPECIAL.map((content, id) => ({
      ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: first,
      pair: [...first, { Sequence: { id: 'B', type_id: 1 } }, { SpecialToken: { id: '[SEP]', type_id: 1 } }],
      special_tokens: Object.fromEntries(['[CLS]', '[SEP]'].map(special)),
    },
    model: {
      ...{ type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100 },
      vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
    },
  };
};

/** A row a token: 2 in the column of its subject. */
const table = (graph: Graph): Value =>
  graph.constant(
    vectorOf(
      'float32',
      vocabulary.flatMap((word) => subjects.map((words) => (words.includes(word) ? 2 : 0))),
      [vocabulary.length, subjects.length],
    ),
  );

const tokens = (graph: Graph, name: string): Value => graph.input(name, 'int64', ['batch', 'sequence']);

/** Sums the rows of the tokens where `mask` is 1: [batch, subjects]. */
const summed = (graph: Graph, ids: Value, mask: Value): Value => {
  const each = graph.node('Gather', [table(graph), ids]);
  const shown = graph.node('Unsqueeze', [cast(graph, mask, 'float32'), graph.constant(vectorOf('int64', [2]))]);
  return reduceSum(graph, graph.node('Mul', [each, shown]), [1], 0);
};

const classifier = (): Uint8Array => {
  const graph = new Graph('classifier');
  const [ids, mask] = [tokens(graph, 'input_ids'), tokens(graph, 'attention_mask')];
  graph.output('logits', summed(graph, ids, mask));
  return serialize(graph);
};

/** Text and hypothesis agree as far as they are about the same subject. */
const inference = (): Uint8Array => {
  const graph = new Graph('inference');
  const [ids, mask, types] = [
    tokens(graph, 'input_ids'),
    tokens(graph, 'attention_mask'),
    tokens(graph, 'token_type_ids'),
  ];
  const hypothesis = graph.node('Mul', [mask, types]);
  const premise = graph.node('Sub', [mask, hypothesis]);
  const common = graph.node('Mul', [summed(graph, ids, premise), summed(graph, ids, hypothesis)]);
  const overlap = reduceSum(graph, common, [1], 1);
  graph.output('logits', graph.node('Concat', [graph.node('Neg', [overlap]), overlap], { axis: 1 }));
  return serialize(graph);
};

export interface TinyModel extends AsyncDisposable {
  readonly folder: string;
}

/** @param change keys of config.json in place of the usual ones */
export const tinyModel = async (kind: 'classifier' | 'inference', change: object = {}): Promise<TinyModel> => {
  const folder = await mkdtemp(join(tmpdir(), 'understudy-model-'));
  const labels = kind === 'classifier' ? Object.keys(SUBJECTS) : ['contradiction', 'entailment'];
  const json = (name: string, value: unknown) => writeFile(join(folder, name), JSON.stringify(value));
  await mkdir(join(folder, 'onnx'));
  await Promise.all([
    json('config.json', {
      model_type: 'bert',
      id2label: { ...labels },
      max_position_embeddings: MAX_TOKENS,
      ...change,
    }),
    json('tokenizer.json', tokenizerJson()),
    json('tokenizer_config.json', {
      tokenizer_class: 'PreTrainedTokenizerFast',
      pad_token: '[PAD]',
      model_max_length: 512,
    }),
    writeFile(join(folder, 'onnx', 'model.onnx'), kind === 'classifier' ? classifier() : inference()),
  ]);
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
};
