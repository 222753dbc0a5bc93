/* cuRAND: the provider is linked with it and calls nothing of it. A library must hold something. */
int curandStandIn(void);

int curandStandIn(void) {
    return 0;
}
