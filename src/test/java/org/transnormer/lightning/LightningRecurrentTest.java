package org.transnormer.lightning;

class LightningRecurrentTest implements LightningScalarContract {
    @Override
    public LightningAttention subject() {
        return new LightningRecurrent();
    }
}
