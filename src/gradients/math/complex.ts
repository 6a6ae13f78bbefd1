/** Complex arithmetic for the complex step: analytic functions of one variable, as methods. */

/** re + i·im. Immutable. Operands may be plain numbers. */
export class Complex {
  constructor(
    /** The real part. */
    readonly re: number,
    /** The imaginary part. */
    readonly im = 0,
  ) {}
  /** Converts a number to complex; returns a complex number unchanged. */
  static of(z: Complex | number): Complex {
    return z instanceof Complex ? z : new Complex(z);
  }
  /** z + w. */
  add(other: Complex | number): Complex {
    const z = Complex.of(other);
    return new Complex(this.re + z.re, this.im + z.im);
  }
  /** z − w. */
  sub(other: Complex | number): Complex {
    const z = Complex.of(other);
    return new Complex(this.re - z.re, this.im - z.im);
  }
  /** z·w. */
  mul(other: Complex | number): Complex {
    const z = Complex.of(other);
    return new Complex(this.re * z.re - this.im * z.im, this.re * z.im + this.im * z.re);
  }
  /** z / w. */
  div(other: Complex | number): Complex {
    const z = Complex.of(other);
    // Smith's algorithm never squares a large number (Smith 1962).
    if (Math.abs(z.re) >= Math.abs(z.im)) {
      const ratio = z.im / z.re;
      const bottom = z.re + z.im * ratio;
      return new Complex((this.re + this.im * ratio) / bottom, (this.im - this.re * ratio) / bottom);
    }
    const ratio = z.re / z.im;
    const bottom = z.re * ratio + z.im;
    return new Complex((this.re * ratio + this.im) / bottom, (this.im * ratio - this.re) / bottom);
  }
  /** −z. */
  neg(): Complex {
    return new Complex(-this.re, -this.im);
  }
  /** eᶻ. */
  exp(): Complex {
    const size = Math.exp(this.re);
    return new Complex(size * Math.cos(this.im), size * Math.sin(this.im));
  }
  /** The principal logarithm, log |z| + i·arg z. */
  log(): Complex {
    return new Complex(Math.log(Math.hypot(this.re, this.im)), Math.atan2(this.im, this.re));
  }
  /** The principal square root. */
  sqrt(): Complex {
    const size = Math.hypot(this.re, this.im);
    // Compute the larger part first and derive the other from it, to avoid cancellation.
    const large = Math.sqrt((size + Math.abs(this.re)) / 2);
    if (large === 0) return new Complex(0, this.im);
    const small = Math.abs(this.im) / (2 * large);
    const sign = this.im < 0 ? -1 : 1;
    return this.re >= 0 ? new Complex(large, sign * small) : new Complex(small, sign * large);
  }
  /** A real power. */
  pow(exponent: number): Complex {
    if (Number.isInteger(exponent) && Math.abs(exponent) <= 64) {
      let result = new Complex(1);
      for (let i = 0; i < Math.abs(exponent); i++) result = result.mul(this);
      return exponent < 0 ? new Complex(1).div(result) : result;
    }
    return this.log().mul(exponent).exp();
  }
  /** sin z = sin re·cosh im + i·cos re·sinh im. */
  sin(): Complex {
    return new Complex(Math.sin(this.re) * Math.cosh(this.im), Math.cos(this.re) * Math.sinh(this.im));
  }
  /** cos z = cos re·cosh im − i·sin re·sinh im. */
  cos(): Complex {
    return new Complex(Math.cos(this.re) * Math.cosh(this.im), -Math.sin(this.re) * Math.sinh(this.im));
  }
  /** tanh z, the hyperbolic tangent. */
  tanh(): Complex {
    // tanh(a + ib) = (t + i·s)/(1 + i·t·s) with t = tanh a, s = tan b, which cannot overflow.
    const [t, s] = [Math.tanh(this.re), Math.tan(this.im)];
    return new Complex(t, s).div(new Complex(1, t * s));
  }
  /** 1/(1 + e⁻ᶻ). */
  sigmoid(): Complex {
    return this.div(2).tanh().add(1).div(2);
  }
}
