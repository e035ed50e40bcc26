import { byteCharacters, PAD_ID } from './bytes.ts';
import { MAX_TEXT_BYTES } from './limits.ts';

const PAD_TOKEN = '<pad>';

/**
 * A Hugging Face tokenizer.json that maps a text to its UTF-8 bytes: byte-level BPE of the 256 byte characters without
 * merges. Padding is in the vocabulary but no added token, or a user's text "<pad>" would become one id.
 */
export function tokenizerJson(): unknown {
  const bytes = byteCharacters().map((character, byte) => [character, byte] as const);
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries([...bytes, [PAD_TOKEN, PAD_ID]]),
      merges: [],
    },
  };
}

/** The tokenizer_config.json that goes with it. */
export const tokenizerConfig = (): unknown => ({
  tokenizer_class: 'PreTrainedTokenizerFast',
  model_max_length: MAX_TEXT_BYTES,
  model_input_names: ['input_ids', 'attention_mask'],
  pad_token: PAD_TOKEN,
  padding_side: 'right',
  truncation_side: 'right',
  clean_up_tokenization_spaces: false,
});
