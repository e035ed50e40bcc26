/** What tests of encoder students share: a folder of a tiny encoder with random weights, whose tokens are words of the small task. */
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FIXTURES = join(dirname(fileURLToPath(import.meta.resolve('@understudy/graph'))), 'fixtures');

type Architecture = 'bert' | 'distilbert' | 'roberta' | 'mpnet' | 'modernbert';

const SPECIAL = ['[PAD]', '[CLS]', '[SEP]', '[UNK]'];
/** RoBERTa and MPNet count positions from the padding id on, which is 1 in their exports. */
const SPECIAL_AFTER_START = ['[CLS]', '[PAD]', '[SEP]', '[UNK]'];
const WORDS =
  'my invoice is wrong i was charged twice please refund the payment what does item mean parcel never came where ' +
  'delivery package arrived broken track shipment cannot sign in reset password login code not work account locked';

/** The encoders have so many tokens and positions: see fixtures/make.py of packages/graph. */
const TOKENS = 50;
const POSITIONS = 24;

function tokenizerJson(special: readonly string[]): unknown {
  const tokens = [...special, ...new Set(WORDS.split(' '))].slice(0, TOKENS);
  const id = (token: string): number => special.indexOf(token);
  const wrap = (token: string) => ({ SpecialToken: { id: token, type_id: 0 } });
  const text = { Sequence: { id: 'A', type_id: 0 } };
  const known = (token: string) => [token, { id: token, ids: [id(token)], tokens: [token] }] as const;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content) => ({
      id: id(content),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
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
      single: [wrap('[CLS]'), text, wrap('[SEP]')],
      pair: [wrap('[CLS]'), text, wrap('[SEP]'), { Sequence: { id: 'B', type_id: 1 } }, wrap('[SEP]')],
      special_tokens: Object.fromEntries([known('[CLS]'), known('[SEP]')]),
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((token, at) => [token, at])),
    },
  };
}

/** Puts a tiny encoder into a folder of its own, removed at the end. */
export async function tinyEncoder(
  architecture: Architecture = 'bert',
): Promise<{ readonly folder: string } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'understudy-encoder-'));
  const special = architecture === 'roberta' || architecture === 'mpnet' ? SPECIAL_AFTER_START : SPECIAL;
  const json = (name: string, value: unknown): Promise<void> => writeFile(join(folder, name), JSON.stringify(value));
  await json('config.json', {
    architectures: ['BertModel'],
    model_type: architecture,
    max_position_embeddings: POSITIONS,
    pad_token_id: special.indexOf('[PAD]'),
    vocab_size: TOKENS,
  });
  await json('tokenizer.json', tokenizerJson(special));
  await json('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    pad_token: '[PAD]',
    cls_token: '[CLS]',
    sep_token: '[SEP]',
    unk_token: '[UNK]',
    model_max_length: 512,
  });
  await mkdir(join(folder, 'onnx'));
  await copyFile(join(FIXTURES, `${architecture}-torchscript-17.onnx`), join(folder, 'onnx', 'model.onnx'));
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
