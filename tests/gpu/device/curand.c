/* cuRAND: the provider links to it but calls no function. A library must define something. */
int curandStandIn(void);

int curandStandIn(void) {
    return 0;
}
