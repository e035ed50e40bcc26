const words = new Intl.Segmenter(undefined, { granularity: 'word' });
/** Shorter ones are in every text. A word of these scripts is two characters long. */
const MIN_CHARACTERS = 4;
const dense = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;
const MIN_DENSE_CHARACTERS = 2;

/**
 * Whether what is said may quote a text: it shares a word of some length with it, in whatever case. Of words that are cut or put together a part
 * in the text is enough. It says yes too often rather than too rarely: most long texts have a word of any message.
 */
export const sharesWord = (said: string, text: string): boolean => {
  // Most failures come without a word, and a long text takes 40 ms to cut into its own.
  if (said === '') return false;
  const [a, b] = [said.toLowerCase(), text.toLowerCase()];
  return tellingWords(a).some((word) => b.includes(word)) || tellingWords(b).some((word) => a.includes(word));
};

const tellingWords = (text: string): string[] =>
  Array.from(words.segment(text)).flatMap(({ segment, isWordLike }) => {
    const least = dense.test(segment) ? MIN_DENSE_CHARACTERS : MIN_CHARACTERS;
    return isWordLike && segment.length >= least ? [segment] : [];
  });
