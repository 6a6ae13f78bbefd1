/** Complex numbers, as far as the complex step needs them: analytic functions of one variable, written with methods. */

/** re + i·im. Immutable. Operands may be plain numbers. */
export class Complex {
  constructor(
    readonly re: number,
    readonly im = 0,
  ) {}
  static of(z: Complex | number): Complex {
    return z instanceof Complex ? z : new Complex(z);
  }
  add(other: Complex | number): Complex {
    const z = Complex.of(other);
    return new Complex(this.re + z.re, this.im + z.im);
  }
  sub(other: Complex | number): Complex {
    const z = Complex.of(other);
    return new Complex(this.re - z.re, this.im - z.im);
  }
  mul(other: Complex | number): Complex {
    const z = Complex.of(other);
    return new Complex(this.re * z.re - this.im * z.im, this.re * z.im + this.im * z.re);
  }
  div(other: Complex | number): Complex {
    const z = Complex.of(other);
    // Smith's way: no square of a large number (Smith 1962).
    if (Math.abs(z.re) >= Math.abs(z.im)) {
      const ratio = z.im / z.re;
      const bottom = z.re + z.im * ratio;
      return new Complex((this.re + this.im * ratio) / bottom, (this.im - this.re * ratio) / bottom);
    }
    const ratio = z.re / z.im;
    const bottom = z.re * ratio + z.im;
    return new Complex((this.re * ratio + this.im) / bottom, (this.im * ratio - this.re) / bottom);
  }
  neg(): Complex {
    return new Complex(-this.re, -this.im);
  }
  exp(): Complex {
    const size = Math.exp(this.re);
    return new Complex(size * Math.cos(this.im), size * Math.sin(this.im));
  }
  log(): Complex {
    return new Complex(Math.log(Math.hypot(this.re, this.im)), Math.atan2(this.im, this.re));
  }
  /** The principal root. */
  sqrt(): Complex {
    const size = Math.hypot(this.re, this.im);
    // The larger part first, the other from it: neither is a difference of near numbers.
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
  sin(): Complex {
    return new Complex(Math.sin(this.re) * Math.cosh(this.im), Math.cos(this.re) * Math.sinh(this.im));
  }
  cos(): Complex {
    return new Complex(Math.cos(this.re) * Math.cosh(this.im), -Math.sin(this.re) * Math.sinh(this.im));
  }
  tanh(): Complex {
    // tanh(a + ib) = (t + i·s)/(1 + i·t·s) with t = tanh a, s = tan b: no overflow.
    const [t, s] = [Math.tanh(this.re), Math.tan(this.im)];
    return new Complex(t, s).div(new Complex(1, t * s));
  }
  sigmoid(): Complex {
    return this.div(2).tanh().add(1).div(2);
  }
}
