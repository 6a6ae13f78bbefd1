/** The options of `quantize`. */

/** Options for `quantize`. */
export interface QuantizeOptions {
  /** The paths of modules whose weights stay in float32, such as `["encoder.layers.0"]`. Default: none. */
  readonly skip?: readonly string[];
  /**
   * Whether only weights are quantized: activations then have 14 bits in all products, so their error is negligible. By default, that
   * holds for products with up to 8 rows; in larger ones, activations and weights have 7 bits. Default false.
   */
  readonly weightsOnly?: boolean;
}
