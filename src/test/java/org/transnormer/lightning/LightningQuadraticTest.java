package org.transnormer.lightning;

class LightningQuadraticTest implements LightningScalarContract {
    @Override
    public LightningAttention subject() {
        return new LightningQuadratic();
    }

    @Override
    public LightningAttention reference() {
        return new LightningRecurrent();
    }
}
