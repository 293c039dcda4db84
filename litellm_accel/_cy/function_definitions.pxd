cpdef str format_function_definitions(list tools)
