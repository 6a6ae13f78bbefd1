/** The options of `quantize`. */

/** Options for `quantize`. */
export interface QuantizeOptions {
  /** The paths of modules whose weights stay in float32, such as `["encoder.layers.0"]`. Default: none. */
  readonly skip?: readonly string[];
  /**
   * If true, activations have 14 bits in all products, so in effect only the weights lose precision. If false, activations have 14
   * bits in products with up to 8 rows; in products with more rows, activations and weights have 7 bits. Default false.
   */
  readonly weightsOnly?: boolean;
}
