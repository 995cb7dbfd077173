package org.transnormer.adamw;

import org.transnormer.tensor.DType;

class GradientNormScalarTest implements GradientNormContract {
    @Override
    public GradientNorm subject() {
        return new GradientNormScalar();
    }

    @Override
    public DType dtype() {
        return DType.F64;
    }
}
