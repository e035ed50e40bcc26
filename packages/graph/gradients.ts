import { ALONG_AXES_GRADIENTS } from './gradients/along-axes.ts';
import { ELEMENTWISE_GRADIENTS } from './gradients/elementwise.ts';
import { INDEXING_GRADIENTS } from './gradients/indexing.ts';
import { LAYOUT_GRADIENTS } from './gradients/layout.ts';
import { PRODUCT_GRADIENTS } from './gradients/products.ts';
import type { GradientRules } from './gradients/rule.ts';

export { GRADIENT_RULES_OF_SEVERAL } from './gradients/indexing.ts';

/** Gradient rules by operator. Every one is checked against central differences in gradients.test.ts. */
export const GRADIENT_RULES: GradientRules = {
  ...ELEMENTWISE_GRADIENTS,
  ...PRODUCT_GRADIENTS,
  ...ALONG_AXES_GRADIENTS,
  ...LAYOUT_GRADIENTS,
  ...INDEXING_GRADIENTS,
};

/** Operators that are flat almost everywhere: their gradient is zero, and ends there. */
export const FLAT_OPERATORS: ReadonlySet<string> = new Set(['Floor', 'Ceil', 'Round', 'Sign']);
